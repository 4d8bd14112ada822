"""The style sheet of all pages. A module and not a file, because a Worker cannot read files.

One system: the font of the visitor's machine; sizes 14, 16, 20, 28 px; distances in steps of 4 px; ink, paper and one
accent, with one colour for what needs attention; one column of 46rem. Light and dark as the visitor's machine is set.
"""

STYLE = """\
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1b2428; --quiet: #55626a; --line: #dddad2; --code: #f2f0ea;
  --accent: #0a6470; --on-accent: #ffffff; --alert: #9a3412;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12181b; --card: #192125; --ink: #e7eaeb; --quiet: #a0acb2; --line: #2e3a40; --code: #0d1214;
    --accent: #6fc7d3; --on-accent: #0d1214; --alert: #fdba74;
  }
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
}
a { color: var(--accent); text-underline-offset: .2em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.column { max-width: 46rem; margin: 0 auto; padding: 0 16px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 16px; top: 8px; background: var(--card); padding: 4px 12px; z-index: 1; }

/* header */
.top { border-bottom: 1px solid var(--line); background: var(--card); }
.top .column { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 20px; min-height: 56px; padding-block: 8px; }
.brand { font-weight: 700; color: var(--ink); text-decoration: none; letter-spacing: -.01em; }
.brand::before {
  content: ""; display: inline-block; width: 20px; height: 10px; margin-right: 8px; background: var(--accent);
  border-radius: 2px 2px 10px 10px;
}
.top nav { display: flex; gap: 4px 16px; flex-wrap: wrap; }
.top nav a { text-decoration: none; padding: 4px 0; }
.top nav a[aria-current] { color: var(--ink); box-shadow: 0 2px 0 var(--accent); }
.top .language { margin-left: auto; font-size: 14px; }

/* text */
main.column { padding-block: 32px 48px; }
h1 { font-size: 28px; line-height: 1.25; letter-spacing: -.015em; margin: 0 0 8px; }
h2 { font-size: 20px; line-height: 1.3; margin: 40px 0 8px; }
h3 { font-size: 16px; margin: 24px 0 4px; }
p { margin: 0 0 12px; }
.quiet { color: var(--quiet); }
.small { font-size: 14px; }
footer { border-top: 1px solid var(--line); padding: 20px 0 40px; color: var(--quiet); font-size: 14px; }
footer p { margin: 0 0 4px; }

/* controls */
label { display: block; font-weight: 600; margin-bottom: 4px; }
input, textarea, select, button { font: inherit; color: inherit; }
form { margin: 0 0 16px; }
input[type=text], input[type=search], select, button, .button { min-height: 44px; }
input[type=text], input[type=search], textarea, select {
  width: 100%; padding: 8px 12px; border: 1px solid var(--quiet); border-radius: 6px; background: var(--card);
}
textarea { resize: vertical; min-height: 48px; margin: 0 0 8px; display: block; }
textarea, code, pre, kbd { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "Noto Sans Mono CJK SC", monospace; font-size: 14px; }
button, .button {
  display: inline-block; padding: 8px 16px; border: 1px solid var(--accent); border-radius: 6px; background: var(--accent);
  color: var(--on-accent); font-weight: 600; cursor: pointer; text-decoration: none;
}
button.plain, .button.plain { background: transparent; color: var(--accent); }
button:disabled { opacity: .5; cursor: default; }
.row { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: end; margin: 0 0 16px; }
.row > .quiet { align-self: center; }
.row > .grow { flex: 1 1 12rem; }
form.actions { display: flex; gap: 8px; margin: 8px 0 0; }
button.small { padding: 4px 12px; font-size: 14px; }

/* command: text that is copied */
.command { position: relative; margin: 4px 0 12px; }
.command pre {
  margin: 0; padding: 12px 16px; background: var(--code); border: 1px solid var(--line); border-radius: 6px;
  overflow-x: auto; white-space: pre; line-height: 1.5;
}
.command.has-copy pre { padding-right: 92px; }
.command button { min-height: 0; position: absolute; top: 6px; right: 6px; padding: 2px 12px; font-size: 14px; background: var(--card); color: var(--accent); border-color: var(--line); }
.file { font-size: 14px; color: var(--quiet); margin: 0 0 2px; }

/* card, details */
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px 20px; margin: 0 0 16px; }
.card > :last-child { margin-bottom: 0; }
details { border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin: 0 0 8px; }
details > summary { cursor: pointer; padding: 10px 16px; font-weight: 600; }
details[open] > summary { border-bottom: 1px solid var(--line); }
details > .inside { padding: 12px 16px 4px; }

/* badge, notice, bar */
.badge {
  display: inline-block; padding: 0 8px; border: 1px solid var(--line); border-radius: 999px; font-size: 14px; line-height: 1.5;
  color: var(--quiet); white-space: nowrap; font-weight: 400;
}
.badge.good { color: var(--accent); border-color: currentColor; }
.badge.alert { color: var(--alert); border-color: currentColor; }
.notice { border-left: 3px solid var(--accent); padding: 4px 0 4px 16px; margin: 0 0 16px; }
.notice.alert { border-color: var(--alert); }
.notice p { margin: 0; }
progress { width: 100%; height: 8px; accent-color: var(--accent); border: 0; border-radius: 4px; background: var(--line); }
progress::-webkit-progress-bar { background: var(--line); border-radius: 4px; }
progress::-webkit-progress-value { background: var(--accent); border-radius: 4px; }

/* table: wide ones scroll inside their frame */
.frame { overflow-x: auto; margin: 0 0 16px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 8px 12px 8px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.short { white-space: nowrap; }
ul.plain { list-style: none; margin: 0; padding: 0; }
ul.plain > li { padding: 12px 0; border-bottom: 1px solid var(--line); }
ul.plain > li p { margin: 0; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0 0 16px; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 12px; margin: 0 0 16px; }
.figures > div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.figures dt { font-size: 14px; color: var(--quiet); }
.figures dd { margin: 0; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures dd.small { font-size: 14px; font-weight: 400; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 12px 20px; margin: 0 0 16px; }
figure { margin: 0; }
figcaption { font-size: 14px; color: var(--quiet); }
.chart { display: block; width: 100%; height: 80px; border-bottom: 1px solid var(--line); }
.chart path { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.chart path.area { fill: var(--accent); fill-opacity: .12; stroke: none; }
@media (max-width: 30rem) {
  main.column { padding-block: 20px 32px; }
  h1 { font-size: 24px; }
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: 8px; }
}
"""
