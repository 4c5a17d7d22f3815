"""Objects of the dev cluster's S3 server by plain HTTP. For putting recordings there, and looking at datasets.

That server (moto) wants to hear of a key before it shows an object, and does not look at what the signature says.
"""

import re
import urllib.parse
import urllib.request

SOMEBODY = "AWS4-HMAC-SHA256 Credential=roboflow-dev/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class Bucket:
    def __init__(self, endpoint, name):
        self.url = f"{endpoint}/{name}"

    def _call(self, method, path, body=None):
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=body)
        request.add_header("Authorization", SOMEBODY)
        request.add_header("Content-Type", "application/octet-stream")
        return urllib.request.urlopen(request, timeout=60).read()

    def put(self, key, body):
        self._call("PUT", "/" + urllib.parse.quote(key), body)

    def get(self, key):
        return self._call("GET", "/" + urllib.parse.quote(key))

    def keys(self, prefix):
        found, after = [], ""
        while True:
            query = urllib.parse.urlencode({"list-type": 2, "prefix": prefix, "start-after": after})
            page = re.findall(r"<Key>([^<]*)</Key>", self._call("GET", f"/?{query}").decode())
            if not page:
                return found
            found += page
            after = page[-1]
