"""The home page as a Jinja template. It is a module and not a file, because a Worker cannot read files."""

HOME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>hubferry at {{ host }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
  pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .4rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
  footer { margin-top: 3rem; font-size: .85rem; opacity: .7; }
</style>
</head>
<body>
<h1>hubferry at {{ host }}</h1>
<p>This is a private gateway to container registries. It does not belong to any registry operator, shows no login
form and asks for no password on this page.<br>
<span lang="zh">这是一个自建的容器镜像网关，与各镜像仓库的运营方无关；本页没有登录表单，也不会索要密码。</span></p>

<h2>Write it in front of the image <span lang="zh">直接写在镜像名前面</span></h2>
<pre>{% if registry.library %}docker pull {{ host }}/library/nginx:latest
docker pull {{ host }}/nginx:latest{% else %}docker pull {{ host }}/OWNER/IMAGE:TAG{% endif %}{% for name in registries[:2] %}
docker pull {{ host }}/{{ name }}/OWNER/IMAGE:TAG{% endfor %}</pre>
<p>Names without a registry mean <strong>{{ registry.name }}</strong>.
<span lang="zh">不写镜像仓库时默认为 <strong>{{ registry.name }}</strong>。</span></p>

<h2>Or make it Docker's mirror <span lang="zh">或者设为 Docker 的镜像加速地址</span></h2>
<p><code>/etc/docker/daemon.json</code>, then <code>systemctl restart docker</code>:</p>
<pre>{"registry-mirrors": ["{{ base }}"]}</pre>
<p>For Docker 29 and every registry: <code>/etc/docker/certs.d/_default/hosts.toml</code>; for containerd from 2.2 on:
<code>/etc/containerd/certs.d/_default/hosts.toml</code>. Older versions of containerd: without
<code>"referrers"</code>.<br>
<span lang="zh">Docker 29 写入 <code>/etc/docker/certs.d/_default/hosts.toml</code>，containerd 2.2 及以上写入 <code>/etc/containerd/certs.d/_default/hosts.toml</code>，对所有镜像仓库生效；更早的 containerd 请去掉 <code>"referrers"</code>。</span></p>
<pre>[host."{{ base }}"]
  capabilities = ["pull", "resolve", "referrers"]</pre>

<h2>Registries <span lang="zh">可用的镜像仓库</span></h2>
<ul>
  <li>{{ registry.name }}</li>{% for name in registries %}
  <li>{{ name }}</li>{% endfor %}
</ul>
<footer>hubferry {{ version }}</footer>
</body>
</html>
"""
