/* Flicker: original and reconstruction take turns in one place. Gamma: how bright the dark parts are. */
(() => {
  const rows = [...document.querySelectorAll('.three, .pair')].map(row => ({
    first: row.querySelector('img.original'), second: row.querySelector('img.reconstruction'),
  })).filter(row => row.first && row.second);
  rows.forEach(row => {
    row.source = row.first.src;
    row.caption = row.first.closest('figure').querySelector('figcaption');
    row.words = row.caption.textContent;
  });
  const button = document.getElementById('flicker');
  const slider = document.getElementById('gamma-slider');
  const functions = document.querySelectorAll('#gamma feFuncR, #gamma feFuncG, #gamma feFuncB');
  let timer = 0, copy = false;
  const show = () => rows.forEach(row => {
    row.first.src = copy ? row.second.src : row.source;
    row.caption.textContent = !timer ? row.words : copy ? 'reconstruction (flicker)' : 'original (flicker)';
  });
  const toggle = () => {
    if (timer) { clearInterval(timer); timer = 0; copy = false; }
    else timer = setInterval(() => { copy = !copy; show(); }, 600);
    button.setAttribute('aria-pressed', String(Boolean(timer)));
    show();
  };
  const brighten = () => {
    functions.forEach(f => f.setAttribute('exponent', slider.value));
    document.getElementById('gamma-value').textContent = Number(slider.value).toFixed(2);
    document.body.classList.toggle('gamma', Number(slider.value) !== 1);
  };
  button.addEventListener('click', toggle);
  slider.addEventListener('input', brighten);
  document.addEventListener('keydown', event => {
    if (event.key === 'f' && !event.ctrlKey && !event.metaKey && !event.altKey) toggle();
  });
  document.getElementById('viewer').hidden = false;
})();
