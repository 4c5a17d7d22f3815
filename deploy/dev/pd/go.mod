module roboflow.dev/pd

go 1.25.0

require github.com/tikv/pd v1.1.0-beta.0.20210323121136-78679e5e209d
