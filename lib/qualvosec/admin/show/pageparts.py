# SPDX-License-Identifier: BSD-2-Clause
"""Style and script of the report: fixed text, never mixed with data.

The page names their SHA-256 in its policy, so that a browser runs and applies these two
and nothing else, whatever a host may call itself. Without the script the page is whole;
it only adds sorting and filtering.
"""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#59636e;--line:#d8dee4;--card:#f6f8fa;
--bad:#c62828;--warn:#9a6700;--good:#1a7f37;--hot:#0969da}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;--line:#30363d;
--card:#161b22;--bad:#ff7b72;--warn:#e3b341;--good:#56d364;--hot:#58a6ff}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:100rem;background:var(--bg);color:var(--fg);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}
p{margin:.3rem 0}.soft,.note{color:var(--soft)}.note{border-left:3px solid var(--warn);
padding-left:.6rem}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0 0;padding:0;list-style:none}
.cards li{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:.6rem 1rem;min-width:8.5rem;flex:1}
.cards b{display:block;font-size:1.7rem;line-height:1.2;font-weight:600}
.bad,.b td:nth-child(2){color:var(--bad)}.warn,.w td:nth-child(2){color:var(--warn)}
.good,.g td:nth-child(2){color:var(--good)}
.b td:nth-child(2){font-weight:600}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg .bad{fill:var(--bad)}svg .warn{fill:var(--warn)}svg .good{fill:var(--good)}
svg .cell{fill:var(--hot)}svg .none{fill:var(--line);fill-opacity:.4}
.bar{max-height:26px}.wide{overflow-x:auto}.heat{min-width:44rem;max-width:70rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.5rem 0;padding:0;list-style:none}
.legend li::before{content:"\\25A0\\00A0"}.legend li.plain::before{content:none}
.person{columns:15rem;column-gap:1.5rem;padding-left:1.2rem;margin:.2rem 0 .8rem}
.person li{overflow-wrap:anywhere;break-inside:avoid}
h3{font-size:1rem;margin:.8rem 0 0}
.tools{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;margin:.6rem 0}
.tools[hidden]{display:none}
input,select,th button{font:inherit;color:inherit;background:var(--bg)}
input,select{border:1px solid var(--line);border-radius:6px;padding:.35rem .6rem}
input{min-width:14rem;flex:0 1 24rem}
table,thead,tbody{display:block}table{font-size:12.5px;font-variant-numeric:tabular-nums;
min-width:124em}
tr{display:grid;grid-template-columns:minmax(13em,2fr) 9em 10.5em 8.5em 11.5em 10.5em 6em 6.5em
repeat(4,6em) 6.5em 6em minmax(8em,1fr);border-bottom:1px solid var(--line)}
tr[hidden]{display:none}
tbody{content-visibility:auto;contain-intrinsic-size:auto 395em}
thead{position:sticky;top:0;background:var(--card);z-index:1}
th,td{padding:.3em .5em;text-align:left;overflow-wrap:anywhere}th{font-weight:600;
overflow-wrap:normal}
td:nth-child(n+9):nth-child(-n+12),th:nth-child(n+9):nth-child(-n+12){text-align:right}
th button{border:0;padding:0;background:none;font-weight:600;cursor:pointer;text-align:inherit}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
:focus-visible{outline:2px solid var(--hot);outline-offset:2px}
footer{margin-top:2rem;color:var(--soft);font-size:.9rem}
@media screen and (max-width:60rem){body{padding:.9rem}table{min-width:0}
tr{grid-template-columns:minmax(0,1.7fr) minmax(0,1fr) 7.4em 7.4em}
td:nth-child(n+4):not(:nth-child(5)),th:nth-child(n+4):not(:nth-child(5)){display:none}}
@page{size:landscape;margin:10mm}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--card:#fff;
--bad:#b00000;--warn:#7a5200;--good:#0b5d1e;--hot:#0550ae;font-size:10px}
body{padding:0;font-size:9px;max-width:none}.cards li{min-width:0}.person{columns:5}
.tools{display:none!important}.wide{overflow:visible}h2,h3{break-after:avoid}
.bar,.heat,.legend{break-inside:avoid}.heat{max-width:60rem}
svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}
table{display:table;table-layout:fixed;width:100%;min-width:0;border-collapse:collapse;
font-size:7px}thead{display:table-header-group;position:static}
tbody{display:table-row-group;content-visibility:visible}
tr{display:table-row;break-inside:avoid}td,th{display:table-cell;padding:.15em .3em}
th button{display:contents}th{width:4.6%}th:nth-child(1){width:14%}
th:nth-child(2),th:nth-child(5){width:9%}
th:nth-child(3),th:nth-child(4),th:nth-child(6){width:8%}th:nth-child(15){width:7%}}
"""

SCRIPT = """
"use strict";
(function () {
  var table = document.getElementById("hosts"), heads = table.tHead.rows[0].cells;
  var find = document.getElementById("find"), kind = document.getElementById("kind");
  var shown = document.getElementById("shown"), timer = 0, CHUNK = 200;
  var order = Array.prototype.slice.call(table.rows, 1), ranks = { b: 0, w: 1, g: 2 };
  var texts = new Map();
  order.forEach(function (row) { texts.set(row, row.textContent.toLowerCase()); });

  // Rows stand in groups, of which a browser reckons only those that can be seen.
  function show() {
    var words = find.value.toLowerCase().split(/\\s+/);
    var body = null, group = document.createDocumentFragment();
    var fit = order.filter(function (row) {
      var text = texts.get(row);
      return (!kind.value || row.className === kind.value) && words.every(function (word) {
        return text.indexOf(word) >= 0;
      });
    });
    while (table.tBodies.length) { table.removeChild(table.tBodies[0]); }
    fit.forEach(function (row, place) {
      if (place % CHUNK === 0) {
        body = document.createElement("tbody");
        body.style.containIntrinsicSize =
          "auto " + Math.min(CHUNK, fit.length - place) * 1.97 + "em";
        group.appendChild(body);
      }
      body.appendChild(row);
    });
    table.appendChild(group);
    shown.textContent = fit.length + " of " + order.length + " hosts";
  }

  function key(row, column) {
    var text = row.cells[column].textContent;
    if (text === "-" || text === "?") { return null; }
    if (column === 1) { return ranks[row.className] + text; }
    return /^\\d+$/.test(text) ? Number(text) : text;
  }

  function sort(column) {
    var head = heads[column], down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    var keyed = order.map(function (row) { return [key(row, column), row]; });
    keyed.sort(function (one, other) {
      var a = one[0], b = other[0];
      if (a === null || b === null) { return (a === null) - (b === null); }
      if (typeof a !== typeof b) { a = String(a); b = String(b); }
      return a < b ? -down : a > b ? down : 0;
    });
    order = keyed.map(function (pair) { return pair[1]; });
    Array.prototype.forEach.call(heads, function (cell) { cell.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    show();
  }

  Array.prototype.forEach.call(heads, function (head, column) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", function () { sort(column); });
    head.textContent = "";
    head.appendChild(button);
  });
  find.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(show, 120);
  });
  kind.addEventListener("change", show);
  document.getElementById("tools").hidden = false;
  show();
}());
"""
