/* What the pages share: elements, announcements, the choice of a theme. */

const $$ = id => document.getElementById(id);

function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}

let hush;
function say(text) {
    $$("status").textContent = text;
    $$("status").classList.add("shown");
    clearTimeout(hush);
    hush = setTimeout(() => $$("status").classList.remove("shown"), 3000);
}

$$("theme").addEventListener("input", () => document.documentElement.dataset.theme = $$("theme").value);
