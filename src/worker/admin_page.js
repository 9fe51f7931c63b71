(function () {
  "use strict";
  var seconds = 2;
  // Puts the new numbers in the place of the old ones.
  function show(text) {
    // Without the page's style: its nonce is not the one of the page that is shown.
    var part = text.slice(text.indexOf('<div id="live">'), text.lastIndexOf("<script"));
    var fresh = new DOMParser().parseFromString(part, "text/html").getElementById("live");
    var live = document.getElementById("live");
    var focused = live.contains(document.activeElement) ? document.activeElement.value : null;
    if (live.querySelector("button:active")) { return; } // pressed now: the click would be lost
    live.replaceWith(fresh);
    fresh.querySelectorAll("button").forEach(function (button) {
      if (button.value === focused) { button.focus({ preventScroll: true }); }
    });
  }
  function refresh() {
    if (document.hidden) { return; }
    fetch("/", { headers: { Accept: "text/html" }, cache: "no-store" }).then(function (answer) {
      if (!answer.ok) { throw new Error(String(answer.status)); }
      return answer.text();
    }).then(function (text) {
      show(text);
      document.getElementById("lost").hidden = true;
    }).catch(function () {
      document.getElementById("lost").hidden = false;
    });
  }
  setInterval(refresh, seconds * 1000);
}());
