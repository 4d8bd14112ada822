"""Image names in what people paste: which are found, with which values, and where."""

import pytest

from hubferry.core.image_names import MAX_TEXT, find_image_names
from hubferry.core.written import MAX_NAME, expand

DIGEST = "sha256:" + "a" * 64

# name of the case: the text, and the names in it with the values of their variables
DOCKERFILES: dict[str, tuple[str, list[str]]] = {
    "one stage": ("FROM nginx\n", ["nginx"]),
    "lower case": ("from nginx:1.27\n", ["nginx:1.27"]),
    "a registry with a port": ("FROM localhost:5000/a/b:1\n", ["localhost:5000/a/b:1"]),
    "a digest": (f"FROM nginx@{DIGEST}\n", [f"nginx@{DIGEST}"]),
    "tag and digest": (f"FROM nginx:1@{DIGEST}\n", [f"nginx:1@{DIGEST}"]),
    "a platform": ("FROM --platform=$BUILDPLATFORM golang:1.22 AS build\n", ["golang:1.22"]),
    "stages": (
        "FROM golang AS build\nFROM build AS test\nFROM alpine\nCOPY --from=build /a /a\n",
        ["golang", "alpine"],
    ),
    "stages in other case": ("FROM golang AS Build\nFROM build\n", ["golang"]),
    "a stage by number": ("FROM golang\nFROM alpine\nCOPY --from=0 /a /a\n", ["golang", "alpine"]),
    "copied from an image": (
        "FROM alpine\nCOPY --chown=1:1 --from=ghcr.io/a/uv:0.4 /uv /bin/\n",
        ["alpine", "ghcr.io/a/uv:0.4"],
    ),
    "mounted from an image": (
        "FROM alpine\nRUN --mount=type=bind,from=busybox:1,target=/b ls\n",
        ["alpine", "busybox:1"],
    ),
    "mounted from a stage": ("FROM alpine AS a\nRUN --mount=from=a,target=/b ls\n", ["alpine"]),
    "scratch": ("FROM scratch\nCOPY a /\n", []),
    "a default": ("ARG V=1.2\nFROM nginx:${V}\n", ["nginx:1.2"]),
    "a default without braces": ("ARG V=1.2\nFROM nginx:$V-alpine\n", ["nginx:1.2-alpine"]),
    "a default in quotes": ('ARG V="1.2"\nFROM nginx:$V\n', ["nginx:1.2"]),
    "several in one line": ("ARG A=alpine B=3\nFROM $A:$B\n", ["alpine:3"]),
    "one of another": ("ARG A=3\nARG B=${A}.1\nFROM alpine:$B\n", ["alpine:3.1"]),
    "a default in place": ("ARG V\nFROM nginx:${V:-1.27}\n", ["nginx:1.27"]),
    "if there is a value": ("ARG V=1\nFROM nginx:1${V:+-alpine}\n", ["nginx:1-alpine"]),
    "without a value": ("ARG V\nFROM nginx:$V\n", ["nginx:$V"]),
    "an ARG of a stage is not of FROM": ("FROM alpine\nARG V=1\nFROM nginx:$V\n", ["alpine", "nginx:$V"]),
    "a stage that the builder chooses": (
        "FROM alpine AS base-amd64\nFROM debian AS base-arm64\nFROM base-${TARGETARCH}\n",
        ["alpine", "debian"],
    ),
    "comments": ("# FROM a\nFROM nginx\n# FROM b\n", ["nginx"]),
    "a syntax": ("# syntax=docker/dockerfile:1\nFROM nginx\n", ["docker/dockerfile:1", "nginx"]),
    "a comment that is no syntax": ("# hello\n# syntax=docker/dockerfile:1\nFROM nginx\n", ["nginx"]),
    "a continued line": ("FROM \\\n  --platform=linux/amd64 \\\n  # which\n  nginx AS a\n", ["nginx"]),
    "another escape": ("# escape=`\nFROM `\n  windows/servercore:1809\n", ["windows/servercore:1809"]),
    "a document in it": ("FROM nginx\nRUN cat <<EOF\nFROM a\nCOPY --from=b\nEOF\nFROM alpine\n", ["nginx", "alpine"]),
    "what is run is no image": ("FROM nginx\nRUN docker pull alpine\n", ["nginx"]),
    "CR LF": ("FROM nginx\r\nFROM alpine\r\n", ["nginx", "alpine"]),
    "no name": ("FROM\nFROM {{ base }}\nFROM Nginx\n", []),
    "a name in quotes": ('FROM "nginx"\n', ["nginx"]),
    "only ARGs": ("ARG A=1\n", []),
}

YAML: dict[str, tuple[str, list[str]]] = {
    "Compose": ("services:\n  a:\n    image: nginx:1.27\n  b:\n    image: redis\n", ["nginx:1.27", "redis"]),
    "in double quotes": ('services:\n  a:\n    image: "nginx:1"\n', ["nginx:1"]),
    "in single quotes": ("services:\n  a:\n    image: 'nginx:1'\n", ["nginx:1"]),
    "with a comment": ("services:\n  a:\n    image: nginx:1 # the web server\n", ["nginx:1"]),
    "in quotes with a comment": ('a:\n  image: "nginx"   # image: redis\n', ["nginx"]),
    "a comment": ("a:\n  # image: redis\n  image: nginx\n", ["nginx"]),
    "in a flow map": ("services: {a: {image: nginx:1, restart: always}, b: {image: 'redis'}}\n", ["nginx:1", "redis"]),
    "the last of a flow map": ("a: {restart: always, image: nginx}\n", ["nginx"]),
    "a comment behind a flow map": ("a: {image: nginx} # {image: redis}\n", ["nginx"]),
    "a default": ("a:\n  image: nginx:${TAG:-1.27}\n", ["nginx:1.27"]),
    "a default, quoted": ('a:\n  image: "${REG:-ghcr.io}/a/b:${TAG-2}"\n', ["ghcr.io/a/b:2"]),
    "a nested default": ("a:\n  image: nginx:${A:-${B:-3}}\n", ["nginx:3"]),
    "a value": ("a:\n  image: nginx:${SET:-1.27}\n", ["nginx:9"]),
    "no value": ("a:\n  image: nginx:${TAG}\n", ["nginx:${TAG}"]),
    "a demanded value": ("a:\n  image: nginx:${TAG:?say which}\n", ["nginx:${TAG:?say which}"]),
    "all of it a variable": ("a:\n  image: $IMAGE\n", ["$IMAGE"]),
    "an anchor": ("a:\n  image: &web nginx:1\nb:\n  image: *web\n", ["nginx:1"]),
    "a tag of YAML": ("a:\n  image: !!str nginx:1\n", ["nginx:1"]),
    "Kubernetes": (
        "spec:\n  containers:\n  - name: a\n    image: nginx:1\n  - image: redis:7\n    name: b\n",
        ["nginx:1", "redis:7"],
    ),
    "Kubernetes, init": (
        "spec:\n  initContainers:\n    - image: busybox\n  containers:\n    - image: nginx\n",
        ["busybox", "nginx"],
    ),
    "several documents": ("image: a\n---\nimage: b\n", ["a", "b"]),
    "JSON": (
        '{\n  "containers": [\n    {"name": "a", "image": "nginx:1"},\n    {"image":"redis"}\n  ]\n}\n',
        ["nginx:1", "redis"],
    ),
    "JSON, a member in a line": ('{\n  "image": "nginx:1",\n  "name": "a"\n}\n', ["nginx:1"]),
    "a key in quotes": ("'image': nginx\n", ["nginx"]),
    "tabs and spaces": ("a:\n  image:    nginx   \n", ["nginx"]),
    "what is built": ("services:\n  a:\n    build: .\n    image: mine\n  b:\n    image: nginx\n", ["nginx"]),
    "what is built, the other way around": (
        "services:\n  a:\n    image: mine\n    build:\n      context: .\n  b:\n    image: nginx\n",
        ["nginx"],
    ),
    "the build of another": ("services:\n  a:\n    image: nginx\n  b:\n    build: .\n", ["nginx"]),
    "text in YAML": ("a:\n  text: |\n    image: redis\n  image: nginx\n", ["nginx"]),
    "folded text in YAML": ("a:\n  - >-\n    image: redis\n  - image: nginx\n", ["nginx"]),
    "other keys": ("a:\n  imagePullPolicy: Always\n  myimage: b\n  image_name: c\n  image.tag: d\n", []),
    "no name in it": ("a:\n  image:\n    repository: nginx\n    tag: 1\n", []),
    "a template": ("a:\n  image: {{ .Values.image }}\n  b: '{{ x }}'\n", []),
    "a template in quotes": ('a:\n  image: "{{ .Values.image }}:{{ .Values.tag }}"\n', []),
    "words": ("a:\n  image: a picture of it\n", []),
    "only other things": ("services:\n  a:\n    depends_on:\n      - db\n", []),
    "a Quadlet unit": ("[Container]\nImage=quay.io/a/b:1\nPublishPort=80:80\n", ["quay.io/a/b:1"]),
    "a workflow": (
        """
jobs:
  a:
    container:
      image: node:20
    steps:
      - run: docker pull nginx
      - run: |
          docker run -d \\
            --name x redis:7
""",
        ["node:20", "nginx", "redis:7"],
    ),
}  # fmt: skip

COMMANDS: dict[str, tuple[str, list[str]]] = {
    "pull": ("docker pull nginx", ["nginx"]),
    "a prompt": ("$ sudo docker pull nginx:1\n", ["nginx:1"]),
    "a longer prompt": ("me@host:~$ docker pull nginx:1\n", ["nginx:1"]),
    "options": ("docker pull --platform linux/arm64 -q ghcr.io/a/b", ["ghcr.io/a/b"]),
    "several": ("podman pull nginx redis:7 > /dev/null", ["nginx", "redis:7"]),
    "a comment": ("docker pull nginx # redis\n# docker pull alpine", ["nginx"]),
    "run": ("docker run -it --rm -p 80:80 -e A=b --name=web nginx:1 nginx -g 'daemon off;'", ["nginx:1"]),
    "run with joined letters": ("docker run -ditp 80:80 nginx sh", ["nginx"]),
    "run with a value in the word": ("docker run -p80:80 -v/a:/b nginx sh", ["nginx"]),
    "run, an image group": ("docker container run --rm alpine ls", ["alpine"]),
    "run with an option before": ("docker --context far run --rm alpine ls", ["alpine"]),
    "over several lines": ("docker run \\\n  -v /a:/b \\\n  nginx:1 \\\n  sh\n", ["nginx:1"]),
    "create": ("podman create --pull always quay.io/a/b", ["quay.io/a/b"]),
    "one after the other": ("docker pull a && docker pull b; docker run c | cat", ["a", "b", "c"]),
    "containerd": (
        "ctr -n k8s.io images pull --all-platforms docker.io/library/nginx:1",
        ["docker.io/library/nginx:1"],
    ),
    "k3s": ("sudo k3s crictl pull nginx", ["nginx"]),
    "nerdctl": ("nerdctl run -d nginx", ["nginx"]),
    "skopeo": ("skopeo copy docker://nginx:1 dir:/tmp/a", ["nginx:1"]),
    "helm": ("helm pull oci://ghcr.io/a/chart --version 1", ["ghcr.io/a/chart"]),
    "kubectl": ("kubectl run a --image=nginx\nkubectl create deployment a --image redis", ["nginx", "redis"]),
    "crane": ("crane manifest nginx:1", ["nginx:1"]),
    "what pulls nothing": ("docker ps\ndocker rmi nginx\ndocker build -t a .\ndocker push a\n", []),
    "an environment": ("DOCKER_HOST=ssh://a docker pull nginx", ["nginx"]),
}

LISTS: dict[str, tuple[str, list[str]]] = {
    "one name": ("nginx", ["nginx"]),
    "a whole name": ("ghcr.io/owner/app:1.2", ["ghcr.io/owner/app:1.2"]),
    "several": ("nginx\nredis:7\n\n# a comment\nquay.io/a/b # another\n", ["nginx", "redis:7", "quay.io/a/b"]),
    "with marks": ("- nginx\n* redis\n", ["nginx", "redis"]),
    "in quotes": ('"nginx",\n`redis`\n', ["nginx", "redis"]),
    "names of registries that are tools": ("docker.io/library/nginx\ndocker\n", ["docker.io/library/nginx", "docker"]),
    "with a transport": ("docker://nginx\noci://ghcr.io/a/b:1\n", ["nginx", "ghcr.io/a/b:1"]),
    "an address": ("[2001:db8::1]:5000/a/b", ["[2001:db8::1]:5000/a/b"]),
    "no names": ("Hello world\nhttps://a.example/b\nUPPER\n-\n", []),
    "variables": ("A=nginx\nB=redis\n", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(*case, id=f"{kind}: {name}")
        for kind, cases in {"Dockerfile": DOCKERFILES, "YAML": YAML, "commands": COMMANDS, "list": LISTS}.items()
        for name, case in cases.items()
    ],
)
def test_names_are_found_where_they_stand(text: str, names: list[str]) -> None:
    found = find_image_names(text, {"SET": "9"})
    assert [one.name for one in found] == names
    for one in found:
        assert text[one.start : one.end] == one.written
        assert one.line == text.count("\n", 0, one.start) + 1
        assert one.is_complete == ("$" not in one.name)


def test_what_is_written_stays_known() -> None:
    (found,) = find_image_names("ARG V=1.2\nFROM nginx:${V}\n")
    assert (found.line, found.written, found.name) == (2, "nginx:${V}", "nginx:1.2")


def test_there_are_as_many_written_forms_as_promised() -> None:
    assert sum(map(len, (DOCKERFILES, YAML, COMMANDS, LISTS))) >= 60


def test_a_text_that_is_too_long_is_refused() -> None:
    assert find_image_names(" " * MAX_TEXT) == []
    with pytest.raises(ValueError, match="give it in parts"):
        find_image_names(" " * (MAX_TEXT + 1))


def test_values_do_not_grow_without_bounds() -> None:
    doubling = "".join(f"ARG A{n + 1}=$A{n}$A{n}\n" for n in range(100))
    (found,) = find_image_names(f"ARG A0=aaaa\n{doubling}FROM x:$A100\n")
    assert not found.is_complete
    assert expand("$A", {"A": "x" * (MAX_NAME + 1)}) == "$A"
    assert len(expand("$A" * 200, {"A": "x" * MAX_NAME})) <= 200 * MAX_NAME
