// Searches and filters the documents of the page's list; everything is put in as text, never as markup.
"use strict";
const rows = JSON.parse(document.getElementById("listed").textContent);
const box = document.getElementById("find");
const choices = ["verdict", "why", "source", "lang"].map((name) => document.getElementById("only-" + name));
const body = document.getElementById("found");
const said = document.getElementById("found-count");
const page = 50;
let most = page;

function cell(row, text, kind) {
  const made = row.insertCell();
  made.className = kind;
  made.dir = "auto";
  made.textContent = text;
  return made;
}

function fits(row, words) {
  if (choices.some((choice) => choice.value !== "" && row[choice.name] !== choice.value.slice(1))) return false;
  const all = [row.id, row.place, row.source, row.lang, row.why, row.detail, row.text].join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((row) => fits(row, words));
  body.replaceChildren();
  for (const row of found.slice(0, most)) {
    const line = body.insertRow();
    cell(line, row.id, "name").title = row.place;
    cell(line, row.why, "name");
    cell(line, row.detail, "name");
    cell(line, row.source, "name");
    cell(line, row.lang, "name");
    if (row.text) {
      const text = cell(body.insertRow(), row.text, "excerpt");
      text.colSpan = 5;
    }
  }
  said.textContent = found.length + " of " + rows.length + " documents" +
    (found.length > most ? ", the first " + most + " shown" : "");
  document.getElementById("more-found").hidden = found.length <= most;
}

for (const choice of choices) {
  for (const value of [...new Set(rows.map((row) => row[choice.name]))].sort()) {
    const option = document.createElement("option");
    option.value = "=" + value;
    option.textContent = value === "" ? "(none)" : value;
    choice.append(option);
  }
  choice.addEventListener("change", () => { most = page; show(); });
}
box.addEventListener("input", () => { most = page; show(); });
document.getElementById("more-found").addEventListener("click", () => { most += page; show(); });
for (const [name, open] of [["unfold", true], ["fold", false]]) {
  document.getElementById(name).addEventListener("click", () => {
    for (const part of document.querySelectorAll("main details")) part.open = open;
  });
}
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("main details")) part.open = true;
});
document.getElementById("tools").hidden = false;
document.getElementById("finder").hidden = false;
show();
