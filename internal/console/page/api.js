// Asking the daemon: JSON by fetch, and events that come back after a break.

let csrf = "";
let signedOut = () => {};

export class Failure extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function onSignedOut(fn) { signedOut = fn; }

// hello asks who we are here, and takes the token that every change needs.
export async function hello() {
  const answer = await ask("/console/hello");
  csrf = answer.csrf || "";
  return answer;
}

export async function signIn(token) {
  const answer = await ask("/console/signin", JSON.stringify({ token }));
  csrf = answer.csrf || "";
  return answer;
}

export const signOut = () => ask("/console/signout", "{}");

// ask is GET, or POST where there is a body: JSON as text.
export async function ask(path, body) {
  const request = { headers: {}, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    request.method = "POST";
    request.body = body;
    request.headers["Content-Type"] = "application/json";
    request.headers["X-CSRF-Token"] = csrf;
  }
  let response, answer;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Failure(0, "unreachable", "The daemon does not answer.");
  }
  try {
    answer = await response.json();
  } catch {
    throw new Failure(response.status, "internal", "The answer is not the console's: status " + response.status + ".");
  }
  if (response.ok) return answer;
  const error = answer.error || { code: "internal", message: "Status " + response.status };
  if (response.status === 401 && path !== "/console/signin") signedOut();
  throw new Failure(response.status, error.code, error.message);
}

// follow reads events for as long as it is not closed: on = {event: fn(data)},
// state(lost) is told of breaks. again: whether to come back.
export function follow(path, on, state = () => {}, again = true) {
  let source = null, timer = 0, closed = false, wait = 500;
  function open() {
    source = new EventSource(path);
    for (const [event, fn] of Object.entries(on)) {
      source.addEventListener(event, (e) => {
        wait = 500;
        fn(JSON.parse(e.data));
      });
    }
    source.onopen = () => state(false);
    source.onerror = async () => {
      source.close();
      if (closed) return;
      state(true);
      if (!again) { closed = true; return; }
      timer = setTimeout(retry, wait);
      wait = Math.min(wait * 1.6, 5000);
    };
  }
  async function retry() {
    if (closed) return;
    try {
      const answer = await hello(); // EventSource does not say why it was refused
      if (closed) return;
      if (!answer.signed_in) { signedOut(); return; }
      open();
    } catch {
      timer = setTimeout(retry, wait);
      wait = Math.min(wait * 1.6, 5000);
    }
  }
  open();
  return { close() { closed = true; clearTimeout(timer); source.close(); } };
}
