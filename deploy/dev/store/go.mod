module roboflow.dev/store

go 1.25.0

require github.com/ngaut/unistore v0.0.0-20231125025143-65768917ffc9

replace go.etcd.io/etcd => github.com/zhangjinpeng1987/etcd v0.5.0-alpha.5.0.20201117041249-9487a87e2cbd

replace google.golang.org/grpc => google.golang.org/grpc v1.26.0

