// The page of a session's terminal: keystrokes and output travel as bytes, the window's size as JSON.
"use strict";

(() => {
  const CHUNK = 16384;
  const notice = document.getElementById("notice");
  const terminal = new Terminal({
    cursorBlink: true,
    fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
    fontSize: 14,
    scrollback: 5000,
    theme: { background: "#14161a", foreground: "#d7dae0" },
  });
  const fit = new FitAddon.FitAddon();
  terminal.loadAddon(fit);
  terminal.open(document.getElementById("terminal"));

  const address = new URL(location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.pathname += "/socket";
  address.hash = "";
  const encoder = new TextEncoder();
  let socket = null;
  let again = false;

  function show(text) {
    notice.textContent = text;
    notice.hidden = !text;
  }

  function open() {
    again = false;
    show("");
    fit.fit();
    address.searchParams.set("cols", terminal.cols);
    address.searchParams.set("rows", terminal.rows);
    const mine = (socket = new WebSocket(address));
    mine.binaryType = "arraybuffer";
    let ended = false;
    mine.onopen = () => {
      document.documentElement.dataset.state = "open";
      terminal.focus();
    };
    mine.onmessage = (event) => {
      if (typeof event.data !== "string") {
        terminal.write(new Uint8Array(event.data));
        return;
      }
      const told = JSON.parse(event.data);
      if (told.type === "exit") {
        ended = true;
        show(`The shell has ended with status ${told.code}. Press Enter for another one.`);
      }
    };
    mine.onclose = (event) => {
      if (mine !== socket) return;
      document.documentElement.dataset.state = "closed";
      again = true;
      if (!ended) show(`${event.reason || "The connection is lost."} Press Enter to connect again.`);
    };
  }

  function send(bytes) {
    if (socket?.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += CHUNK) socket.send(bytes.subarray(at, at + CHUNK));
  }

  terminal.onData((text) => {
    if (again) {
      if (text === "\r") open();
      return;
    }
    send(encoder.encode(text));
  });
  terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "resize", cols, rows }));
  });
  terminal.onTitleChange((title) => { document.title = title || "Terminal"; });
  new ResizeObserver(() => fit.fit()).observe(document.getElementById("terminal"));
  open();
})();
