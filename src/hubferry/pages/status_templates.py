"""The Jinja templates of the pages below /status. `figures.html` is the part that is sent anew every few seconds."""

STATUS = """\
{% extends "base.html" %}
{% block title %}{{ t.status }}{% endblock %}
{% block content %}
<h1>{{ t.status }}</h1>
{% if keeps %}<p><a href="/status/images">{{ t.kept_images }}</a></p>{% endif %}
<div data-events="{{ events }}?lang={{ language }}">
{% include "figures.html" %}
</div>
{% endblock %}
"""

FIGURES = """\
{% from "parts.html" import badge, notice, time, job %}
{% set day, total = overview.day, overview.total %}
{% if not overview.is_summed %}{{ notice(t.one_worker) }}{% endif %}
<dl class="figures">
<div><dt>{{ t.hit_ratio }}</dt><dd>{{ day.hit_ratio | percent }}</dd><dd class="quiet small">{{ t.in_all.format(value=total.hit_ratio | percent) }}</dd></div>
<div><dt>{{ t.sent }}</dt><dd>{{ day.sent_bytes | size }}</dd><dd class="quiet small">{{ t.in_all.format(value=total.sent_bytes | size) }}</dd></div>
<div><dt>{{ t.saved }}</dt><dd>{{ day.saved_bytes | size }}</dd><dd class="quiet small">{{ t.in_all.format(value=total.saved_bytes | size) }}</dd></div>
<div><dt>{{ t.requests }}</dt><dd>{{ day.requests | count }}</dd><dd class="quiet small">{{ t.in_all.format(value=total.requests | count) }}</dd></div>
{% if overview.disk %}
<div><dt>{{ t.disk }}</dt><dd>{{ overview.disk.used_bytes | size }}</dd><dd class="quiet small">{{ t.disk_of.format(most=overview.disk.most_bytes | size, free=overview.disk.free_bytes | size) }}</dd><dd><progress aria-label="{{ t.disk }}" max="{{ overview.disk.most_bytes }}" value="{{ overview.disk.used_bytes }}"></progress></dd></div>
<div><dt>{{ t.kept_tags }}</dt><dd>{{ overview.disk.images | count }}</dd></div>
{% endif %}
</dl>
<p class="quiet small">{{ t.last_24_hours }}<br>{{ t.since.format(date=overview.since | date) }}</p>
<h2>{{ t.fills }}</h2>
{% if overview.fills %}
<ul class="plain">
{% for fill in overview.fills %}
<li>
<p>{{ fill.image }} <code class="quiet">{{ fill.digest[:19] }}</code></p>
{% if fill.size_bytes is not none %}<progress aria-label="{{ fill.digest[:19] }}" max="{{ [fill.size_bytes, 1] | max }}" value="{{ fill.at_bytes }}"></progress>{% endif %}
<p class="quiet small">{{ fill.at_bytes | size }} / {{ fill.size_bytes | size }}{% if fill.bytes_per_s is not none %} · {{ rate(fill.bytes_per_s) }}{% endif %}{% if fill.left_s is not none %} · {{ t.left.format(time=fill.left_s | duration) }}{% endif %}</p>
</li>
{% endfor %}
</ul>
{% if overview.more_fills %}<p class="quiet">{{ t.more_fills.format(count=overview.more_fills) }}</p>{% endif %}
{% else %}<p class="quiet">{{ t.no_fills }}</p>{% endif %}
{% if overview.jobs %}
<h2>{{ t.warm_jobs }}</h2>
<ul class="plain">
{% for one in overview.jobs %}<li>{{ job(one, t) }}</li>
{% endfor %}
</ul>
{% endif %}
<h2>{{ t.registries }}</h2>
<div class="frame"><table>
<thead><tr><th scope="col">{{ t.registry }}</th><th scope="col">{{ t.state }}</th><th scope="col">{{ t.quota }}</th></tr></thead>
<tbody>
{% for upstream in overview.upstreams %}
<tr><td>{{ upstream.name }}</td><td class="short">{{ badge(t.down, "alert") if upstream.is_down else badge(t.up, "good") }}</td>
<td>{% for one in upstream.standings %}
{% set whose = t.anonymous if one.account == "anonymous" else one.account %}
{% if one.limit is not none %}{{ t.quota_left.format(account=whose, left=one.remaining | count, limit=one.limit | count, time=one.resets_s | duration) }}<br>{% endif %}
{% for kind, wait_s in one.waits %}{{ badge(t.waiting.format(account=whose, kind=t["kind_" ~ kind], time=wait_s | duration), "alert") }} {% endfor %}
{% else %}-{% endfor %}</td></tr>
{% endfor %}
</tbody>
</table></div>
<h2>{{ t.course }}</h2>
{% for span in spans %}
<h3>{{ span.name }}</h3>
<div class="charts">
<figure><svg class="chart" role="img" aria-label="{{ t.chart_sent.format(span=span.name, top=rate(span.top)) }}" viewBox="0 0 {{ span.sent.width }} 100" preserveAspectRatio="none"><path class="area" d="{{ span.sent.area }}"/><path d="{{ span.sent.line }}"/></svg>
<figcaption>{{ t.chart_sent_says.format(sent=span.whole.sent_bytes | size, top=rate(span.top)) }}</figcaption></figure>
<figure><svg class="chart" role="img" aria-label="{{ t.chart_ratio.format(span=span.name, ratio=span.whole.hit_ratio | percent) }}" viewBox="0 0 {{ span.ratio.width }} 100" preserveAspectRatio="none"><path d="{{ span.ratio.line }}"/></svg>
<figcaption>{{ t.chart_ratio_says.format(ratio=span.whole.hit_ratio | percent) }}</figcaption></figure>
</div>
{% endfor %}
<h2>{{ t.busiest }}</h2>
{% if overview.busiest %}
<div class="frame"><table>
<thead><tr><th scope="col">{{ t.image }}</th><th scope="col" class="number">{{ t.requests }}</th><th scope="col" class="number">{{ t.sent }}</th></tr></thead>
<tbody>
{% for one in overview.busiest %}
<tr><td>{{ one.name }}</td><td class="number">{{ one.requests | count }}</td><td class="number">{{ one.sent_bytes | size }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% else %}<p class="quiet">{{ t.nothing_yet }}</p>{% endif %}
<h2>{{ t.problems }}</h2>
{% if problems %}
<ul class="plain">
{% for one, remedy in problems %}
<li>
<p class="quiet small">{{ time(one.at, now, language) }} · {{ one.upstream }} · {{ one.status }}{% if one.count > 1 %} · {{ t.times.format(count=one.count | count) }}{% endif %}</p>
<p lang="en">{{ one.text }}</p>
<p class="small">{{ remedy }}</p>
</li>
{% endfor %}
</ul>
{% else %}<p class="quiet">{{ t.no_problems }}</p>{% endif %}
"""

KEPT = """\
{% extends "base.html" %}
{% from "parts.html" import badge, notice, time, job %}
{% block title %}{{ t.kept_images }}{% endblock %}
{% block content %}
<h1>{{ t.kept_images }}</h1>
<p><a href="/status">{{ t.status }}</a></p>
{% if done %}{{ notice(t[done].format(image=image)) }}{% endif %}
<details{% if jobs %} open{% endif %}>
<summary>{{ t.warm }}</summary>
<div class="inside">
<form action="/status/images" method="post">
<input type="hidden" name="action" value="warm">
<div class="row">
<div class="grow"><label for="image">{{ t.image }}</label><input type="text" id="image" name="image" required maxlength="500" spellcheck="false" autocapitalize="off" autocomplete="off" placeholder="nginx:1.29"></div>
<div><label for="platforms">{{ t.platforms }}</label><input type="text" id="platforms" name="platforms" maxlength="200" spellcheck="false" autocapitalize="off" autocomplete="off" placeholder="linux/amd64" aria-describedby="platforms-hint"></div>
<div><button>{{ t.warm }}</button></div>
</div>
<p id="platforms-hint" class="quiet small">{{ t.platforms_hint }}</p>
</form>
<ul class="plain">
{% for one in jobs %}<li>{{ job(one, t) }}</li>
{% endfor %}
</ul>
</div>
</details>
<form action="/status/images" method="get" role="search">
<div class="row">
<div class="grow"><label for="q">{{ t.search_words }}</label><input type="search" id="q" name="q" value="{{ q }}" maxlength="200" autocomplete="off"></div>
<div><button>{{ t.search }}</button></div>
</div>
</form>
<p class="quiet small">{{ t.search_total.format(total=count | count) }}</p>
{% if images %}
<ul class="plain">
{% for one in images %}
<li>
<p><a href="/image?name={{ one.name | urlencode }}">{{ one.name }}</a>{% if one.is_pinned %} {{ badge(t.pinned, "good") }}{% endif %}</p>
<p class="quiet small">{{ one.size_bytes | size }} · <code>{{ one.digest[:19] }}</code>{% if one.used_at %} · {{ t.last_used }} {{ time(one.used_at, now, language) }}{% endif %}{% if one.confirmed_at %} · {{ t.confirmed }} {{ time(one.confirmed_at, now, language) }}{% endif %}</p>
<form action="/status/images" method="post" class="actions">
<input type="hidden" name="image" value="{{ one.name }}"><input type="hidden" name="q" value="{{ q }}">
<button class="plain small" name="action" value="{{ 'unpin' if one.is_pinned else 'pin' }}" aria-label="{{ (t.unpin if one.is_pinned else t.pin) ~ ' ' ~ one.name }}">{{ t.unpin if one.is_pinned else t.pin }}</button>
<button class="plain small" name="action" value="remove" aria-label="{{ t.remove ~ ' ' ~ one.name }}">{{ t.remove }}</button>
</form>
</li>
{% endfor %}
</ul>
{% if pages > 1 %}
<p class="row">
{% if number > 1 %}<a class="button plain" rel="prev" href="{{ here_with(page=number - 1) }}">{{ t.previous }}</a>{% endif %}
<span class="quiet">{{ t.page_of.format(number=number, pages=pages) }}</span>
{% if number < pages %}<a class="button plain" rel="next" href="{{ here_with(page=number + 1) }}">{{ t.next }}</a>{% endif %}
</p>
{% endif %}
{% endif %}
{% endblock %}
"""
