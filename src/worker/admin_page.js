(function () {
  "use strict";
  var seconds = 2;
  function refresh() {
    if (document.hidden) { return; }
    fetch("/", { headers: { Accept: "text/html" }, cache: "no-store" }).then(function (answer) {
      if (!answer.ok) { throw new Error(String(answer.status)); }
      return answer.text();
    }).then(function (text) {
      // Without the page's style: its nonce is not the one of the page that is shown.
      var live = text.slice(text.indexOf('<div id="live">'), text.lastIndexOf("<script"));
      var page = new DOMParser().parseFromString(live, "text/html");
      document.getElementById("live").replaceWith(page.getElementById("live"));
      document.getElementById("lost").hidden = true;
    }).catch(function () {
      document.getElementById("lost").hidden = false;
    });
  }
  setInterval(refresh, seconds * 1000);
}());
