document.documentElement.classList.add("js");
const text = document.getElementById("find"), verdict = document.getElementById("verdict");
const rows = [...document.querySelectorAll("[data-verdict]")];
function show() {
  const wanted = text.value.toLowerCase();
  for (const row of rows)
    row.hidden = (verdict.value && row.dataset.verdict !== verdict.value) ||
      (wanted && !row.textContent.toLowerCase().includes(wanted));
}
text.addEventListener("input", show);
verdict.addEventListener("change", show);
