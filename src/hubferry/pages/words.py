"""Every sentence of the pages, in English and in Simplified Chinese, by a key that templates use.

Sentences are text and not HTML; `{name}` in one is filled in by the template. Both languages have the same keys.
"""

from hubferry.core.http import Request

Words = dict[str, str]

# key: (English, Chinese)
_ENTRIES: dict[str, tuple[str, str]] = {
    "language": ("en", "zh-CN"),
    "other_language": ("zh", "en"),
    "other_language_name": ("简体中文", "English"),
    "skip": ("Skip to the content", "跳到正文"),
    "home": ("Home", "首页"),
    "search": ("Search", "搜索"),
    "status": ("Status", "状态"),
    "copy_it": ("Copy", "复制"),
    "copied": ("Copied", "已复制"),
    "not_copied": ("Not copied", "复制失败"),
    "about": (
        "hubferry is a private gateway to container registries. It belongs to no registry operator, and never asks for the password of one.",
        "hubferry 是自建的容器镜像网关，与各镜像仓库的运营方无关，也不会索要镜像仓库的密码。",
    ),
    # home
    "home_title": ("Pull container images through {host}", "通过 {host} 拉取容器镜像"),
    "paste": ("Image name, or a file with image names", "镜像名，或包含镜像名的文件"),
    "paste_hint": (
        "nginx, ghcr.io/owner/app:1.2, a docker pull line, a Compose file, a Kubernetes manifest or a Dockerfile",
        "nginx、ghcr.io/owner/app:1.2、docker pull 命令、Compose 文件、Kubernetes 清单或 Dockerfile",
    ),
    "rewrite": ("Rewrite for this gateway", "改写"),
    "rewritten": ("Through this gateway", "改写结果"),
    "rewritten_count": (
        "{count} image names rewritten; everything else is as it was.",
        "已改写 {count} 处镜像名，其余内容保持不变。",
    ),
    "nothing_found": (
        "There is no image name in this text that can be pulled here.",
        "这段文本里没有可以经由本网关拉取的镜像名。",
    ),
    "not_served": (
        "Left as they are, because they cannot be pulled here: {names}",
        "以下镜像无法经由本网关拉取，保持原样：{names}",
    ),
    "see_image": ("Tags, sizes and layers of {image}", "查看 {image} 的标签、大小和镜像层"),
    "clients": ("Set up a client", "客户端配置"),
    "registries": ("Registries", "镜像仓库"),
    "serves_only": (
        "This host name leads to {registry} only.",
        "此域名只对应 {registry}。",
    ),
    "no_registry_means": (
        "An image name without a registry means {registry}.",
        "镜像名不带仓库地址时，默认为 {registry}。",
    ),
    "upstream_down": (
        "cannot be reached at the moment; what is kept can still be pulled",
        "暂时无法连接，已缓存的镜像仍可拉取",
    ),
    # guides
    "by_name": (
        "Write the gateway in front of the image name. This works for every registry, and changes nothing on your machine.",
        "在镜像名前加上网关地址即可。适用于所有镜像仓库，无需修改本机配置。",
    ),
    "as_mirror": (
        "Image names stay as they are. After nearly any error of a mirror, docker silently asks Docker Hub itself.",
        "镜像名保持不变。请注意：镜像加速地址一旦出错，docker 会不作提示地直接访问 Docker Hub。",
    ),
    "kubernetes_nodes": (
        "To leave manifests as they are, set up containerd, CRI-O or k3s on each node instead.",
        "如果不想改动清单，也可以在每个节点上配置 containerd、CRI-O 或 k3s。",
    ),
    "plain_docker": ("This gateway has no TLS. Allow that first:", "网关未启用 TLS，需要先允许明文访问："),
    "log_in": ("Log in once, as a user of this gateway:", "先登录一次（使用本网关的账号）："),
    "pull": ("Pull:", "拉取："),
    "usual_name": ("Give the image its usual name, if something expects it:", "如需恢复原来的镜像名："),
    "docker_mirror": (
        "For Docker Hub, with every version of Docker:",
        "适用于所有 Docker 版本，仅对 Docker Hub 生效：",
    ),
    "docker_29": (
        "Docker 29 and newer with the containerd image store, without a restart:",
        "Docker 29 及以上、使用 containerd 镜像存储时，无需重启：",
    ),
    "restart_docker": ("Then run systemctl restart docker.", "然后执行 systemctl restart docker。"),
    "containerd_new": ("containerd 2.2 and newer:", "containerd 2.2 及以上："),
    "containerd_old": ("Older versions of containerd:", "更早版本的 containerd："),
    "containerd_config": (
        "For Kubernetes (the CRI plugin), name that folder once; with containerd 1.x the table is called io.containerd.grpc.v1.cri:",
        "用于 Kubernetes（CRI 插件）时，还需指定该目录；containerd 1.x 中对应的表名为 io.containerd.grpc.v1.cri：",
    ),
    "restart_containerd": ("Then run systemctl restart containerd.", "然后执行 systemctl restart containerd。"),
    "podman": ("One pair of tables for each registry:", "每个镜像仓库写一组："),
    "kubernetes": ("Write the gateway in front of the image names:", "在镜像名前加上网关地址："),
    "kubernetes_login": ("Once in each namespace:", "每个命名空间执行一次："),
    "k3s": ("One file on each node:", "在每个节点上写入："),
    "restart_k3s": (
        "Then run systemctl restart k3s (k3s-agent on agents).",
        "然后执行 systemctl restart k3s（agent 节点为 k3s-agent）。",
    ),
    "buildkit": ("The file of a builder:", "构建器的配置文件："),
    "buildkit_builder": ("Then make a builder with it:", "然后用它创建构建器："),
    "compose": ("Write the gateway in front of the image names:", "在镜像名前加上网关地址："),
    "paste_above": (
        "Paste your file above: it is rewritten as a whole.",
        "把整个文件粘贴到上面的输入框，即可全部改写。",
    ),
    "helm": ("Charts in OCI registries:", "存放在 OCI 仓库中的 chart："),
    "your_secret": (
        "{secret} stands for the secret of your machine. Whoever runs this gateway makes one with hubferry token create --mirror NAME.",
        "{secret} 代表本机的密钥，由网关管理员用 hubferry token create --mirror NAME 生成。",
    ),
    # search
    "search_words": ("Image or words", "镜像名或关键词"),
    "registry": ("Registry", "镜像仓库"),
    "no_search": ("None of the registries of this host name can be searched.", "此域名对应的镜像仓库不支持搜索。"),
    "search_total": ("{total} found", "共 {total} 个结果"),
    "search_nothing": ("{registry} finds nothing for {words}.", "在 {registry} 中没有找到“{words}”。"),
    "search_kept": ("Of what is kept here:", "以下是本网关已缓存的镜像："),
    "official": ("official", "官方"),
    "verified": ("verified", "已认证"),
    "stars": ("Stars: {count}", "{count} 星"),
    "pulls": ("Pulls: {count}", "{count} 次拉取"),
    "next": ("Next", "下一页"),
    "previous": ("Previous", "上一页"),
    "page_of": ("Page {number} of {pages}", "第 {number} 页，共 {pages} 页"),
    # image
    "tags": ("Tags", "标签"),
    "tag": ("Tag", "标签"),
    "all_tags": ("All tags", "全部标签"),
    "filter": ("Filter", "筛选"),
    "order": ("Order", "排序"),
    "order_newest": ("Newest version first", "新版本在前"),
    "order_name": ("By name", "按名称"),
    "order_kept": ("Kept here first", "已缓存的在前"),
    "show": ("Show", "显示"),
    "no_tags": ("There is no such tag.", "没有符合条件的标签。"),
    "kept_here": ("Kept here", "本地缓存"),
    "kept": ("kept", "已缓存"),
    "kept_in_part": ("kept in part", "部分缓存"),
    "not_kept": ("not kept", "未缓存"),
    "kept_since": ("Kept since", "缓存时间"),
    "confirmed": ("Tag confirmed", "标签确认时间"),
    "created": ("Created", "构建时间"),
    "digest": ("Digest", "摘要"),
    "size": ("Size", "大小"),
    "platforms": ("Platforms", "平台"),
    "platform": ("Platform", "平台"),
    "more_platforms": ("There are more platforms than are shown.", "平台较多，仅显示一部分。"),
    "layers": ("Layers", "镜像层"),
    "made_by": ("Made by", "构建命令"),
    "config": ("Configuration", "运行配置"),
    "entrypoint": ("Entrypoint", "入口命令"),
    "command": ("Command", "默认命令"),
    "user": ("User", "用户"),
    "folder": ("Working folder", "工作目录"),
    "ports": ("Ports", "端口"),
    "volumes": ("Volumes", "卷"),
    "environment": ("Environment", "环境变量"),
    "referrers": ("Signatures and attestations", "签名与证明"),
    "attestation": ("attestation (BuildKit)", "构建证明（BuildKit）"),
    "kind": ("Kind", "类型"),
    "download": ("Download as a file", "下载为文件"),
    "download_it": ("Download", "下载"),
    "download_use": ("For a machine without network:", "用于没有网络的机器："),
    "download_resume": (
        "An interrupted download is continued by the browser, or by curl -C -. podman load, skopeo and ctr images import read the file, too.",
        "下载中断后可由浏览器或 curl -C - 续传；podman load、skopeo 和 ctr images import 也能读取该文件。",
    ),
    # status
    "kept_images": ("Kept images", "已缓存的镜像"),
    "one_worker": (
        "Nothing is kept here (cache.enabled = false), so these figures are of one worker process, since it started.",
        "本网关未启用缓存（cache.enabled = false），以下数据仅来自一个工作进程，从其启动时算起。",
    ),
    "hit_ratio": ("Hit ratio", "命中率"),
    "sent": ("Sent", "发送"),
    "saved": ("Saved", "节省"),
    "requests": ("Requests", "请求"),
    "disk": ("Cache", "缓存占用"),
    "disk_of": ("of {most}; {free} free on disk", "上限 {most}，磁盘剩余 {free}"),
    "kept_tags": ("Kept tags", "已缓存标签"),
    "in_all": ("in all {value}", "累计 {value}"),
    "last_24_hours": (
        "Of the last 24 hours; saved is what was sent beyond what upstreams gave.",
        "数据为最近 24 小时；“节省”指发送量减去从上游获取的量。",
    ),
    "since": ("In all since {date}.", "累计自 {date} 起。"),
    "fills": ("Being fetched", "正在拉取"),
    "no_fills": ("Nothing at the moment.", "当前没有。"),
    "more_fills": ("and {count} more", "另有 {count} 个"),
    "left": ("{time} left", "剩余 {time}"),
    "warm_jobs": ("Ordered images", "预热任务"),
    "job_waiting": ("waiting", "等待中"),
    "job_running": ("running", "进行中"),
    "job_done": ("done", "完成"),
    "job_failed": ("failed", "失败"),
    "state": ("State", "状态"),
    "up": ("up", "正常"),
    "down": ("down", "无法连接"),
    "quota": ("Pulls left", "剩余配额"),
    "anonymous": ("this address", "本机地址"),
    "quota_left": ("{account}: {left} of {limit}, again in {time}", "{account}：{left}/{limit}，{time} 后恢复"),
    "waiting": ("{account}: 429 for {kind}, {time}", "{account}：{kind}被限流（429），{time}"),
    "kind_manifests": ("manifests", "清单"),
    "kind_blobs": ("blobs", "镜像层"),
    "kind_lists": ("lists", "列表"),
    "kind_search": ("search", "搜索"),
    "kind_tokens": ("tokens", "令牌"),
    "course": ("History", "走势"),
    "last_hour": ("Last hour", "最近一小时"),
    "last_day": ("Last day", "最近一天"),
    "last_week": ("Last week", "最近一周"),
    "chart_sent": ("{span}: bytes sent, peak {top}", "{span}：发送速率，峰值 {top}"),
    "chart_sent_says": ("{sent} sent, peak {top}", "发送 {sent}，峰值 {top}"),
    "chart_ratio": ("{span}: hit ratio, {ratio} on the whole", "{span}：命中率，总体 {ratio}"),
    "chart_ratio_says": ("Hit ratio {ratio}", "命中率 {ratio}"),
    "busiest": ("Busiest images of the last day", "最近一天最热门的镜像"),
    "image": ("Image", "镜像"),
    "nothing_yet": ("Nothing was pulled yet.", "还没有拉取记录。"),
    "problems": ("Last problems", "最近的错误"),
    "no_problems": ("None.", "没有。"),
    "times": ("{count} times", "共 {count} 次"),
    "remedy_dns": (
        "Check the gateway's name server; if the name is blocked, set proxy for this upstream.",
        "请检查网关的 DNS；如果域名被屏蔽，请为该上游设置 proxy。",
    ),
    "remedy_tcp": (
        "Check firewall and routing, or set proxy for this upstream.",
        "请检查防火墙和路由，或为该上游设置 proxy。",
    ),
    "remedy_tls": (
        "Check whether the network intercepts TLS; a certificate authority of your own goes into ca_file.",
        "请检查网络是否劫持了 TLS；自有 CA 证书请填入 ca_file。",
    ),
    "remedy_timeout": (
        "The way to the upstream is slow: set proxy or mirrors, or raise the time limit that is named.",
        "到上游的线路较慢：请设置 proxy 或 mirrors，或调大所提示的超时。",
    ),
    "remedy_proxy": ("Check the proxy of this upstream, and its log.", "请检查该上游的代理及其日志。"),
    "remedy_address": (
        "If the upstream is in your own network, set allow_private_addresses; otherwise check the name server.",
        "如果上游在内网，请设置 allow_private_addresses；否则请检查 DNS。",
    ),
    "remedy_wrong": (
        "Something between gateway and upstream changes content: find out what, and use another way.",
        "网关与上游之间有设备篡改了内容：请排查，或改用其他线路。",
    ),
    "remedy_protocol": (
        "Check that url is a registry, and that no login page of the network answers in its place.",
        "请检查 url 是否为镜像仓库，以及是否被网络的登录页面拦截。",
    ),
    "remedy_cut": (
        "Clients resume by themselves. If it happens often, set proxy or mirrors for this upstream.",
        "客户端会自动续传；如果经常发生，请为该上游设置 proxy 或 mirrors。",
    ),
    "remedy_room": (
        "Pulls go on without the cache: check the disk, and cache.max_size and cache.min_free.",
        "拉取不受影响，但无法写入缓存：请检查磁盘，以及 cache.max_size 和 cache.min_free。",
    ),
    "remedy_limit": (
        "Wait until the limit is over, or give the gateway an account of the registry (username, accounts_file).",
        "请等待限流结束，或为网关配置该仓库的账号（username、accounts_file）。",
    ),
    "remedy_other": (
        "The gateway's log has the line of this request, and docs/errors.md says what it means.",
        "网关日志中有该请求的记录，含义见 docs/errors.zh-CN.md。",
    ),
    "warm": ("Fetch an image", "预热镜像"),
    "platforms_hint": (
        "Platforms with commas between them, or all; empty: that of the gateway's machine.",
        "多个平台用逗号分隔，全部平台写 all；留空表示网关所在机器的平台。",
    ),
    "last_used": ("last used", "最近使用"),
    "pinned": ("pinned", "已固定"),
    "pin": ("Pin", "固定"),
    "unpin": ("Unpin", "取消固定"),
    "remove": ("Remove", "删除"),
    "warm_ordered": ("{image} is being fetched.", "已开始预热 {image}。"),
    "was_removed": ("{image} was removed.", "已删除 {image}。"),
    "was_pinned": ("{image} stays, whatever room is needed.", "已固定 {image}，空间不足时也不会被清理。"),
    "was_unpinned": ("{image} may make room for others again.", "已取消固定 {image}，空间不足时可被清理。"),
    # errors
    "not_found": ("Nothing is at {path}.", "{path} 不存在。"),
    "failed": ("That did not work", "出错了"),
}
ENGLISH: Words = {key: pair[0] for key, pair in _ENTRIES.items()}
CHINESE: Words = {key: pair[1] for key, pair in _ENTRIES.items()}
LANGUAGES = {"en": ENGLISH, "zh": CHINESE}
COOKIE = "hubferry-language"
MAX_LANGUAGES = 16  # of an Accept-Language header that are read


def choose_language(request: Request, wanted: str) -> str:
    """Return the language for a visitor: `en` or `zh`.

    `wanted` is what a link of a page says, which counts first; then the visitor's cookie, then Accept-Language.
    """
    for said in (wanted, _cookie(request)):
        if said in LANGUAGES:
            return said
    return _accepted(request.header("accept-language") or "")


def _cookie(request: Request) -> str:
    for pair in (request.header("cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _accepted(header: str) -> str:
    """Return the language that is preferred in an Accept-Language header (RFC 9110 section 12.5.4), else English."""
    best, best_quality = "en", 0.0
    for part in header.lower().split(",")[:MAX_LANGUAGES]:
        name, _, parameter = part.partition(";")
        language = name.strip().partition("-")[0]
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and best_quality < quality <= 1.0:
            best, best_quality = language, quality
    return best
