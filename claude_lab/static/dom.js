// Joined in front of every widget's module; there is no bundler.

function element(tag, className, attributes = {}, parent = null) {
  const made = document.createElement(tag);
  made.className = className;
  made.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys of what has the focus
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

// The roads to a loopback URL of the kernel's machine: direct where the browser is on it too, else through the
// proxy of the Jupyter server.
function roads(url) {
  const { port, pathname } = new URL(url);
  if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) return [url];
  const config = document.getElementById("jupyter-config-data");
  const base = config ? JSON.parse(config.textContent).baseUrl ?? "/" : "/";
  return [new URL(`${base}proxy/${port}${pathname}`, location.href).href, url];
}

function xsrf() {
  const token = document.cookie.match(/\b_xsrf=([^;]*)/)?.[1];
  return token ? { "X-XSRFToken": token } : {};
}
