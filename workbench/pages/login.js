// Log in with the token that stands behind the address's #, which no server and no log ever sees, or with the form's.
const problem = document.getElementById("problem");

async function logIn(token) {
  const answer = await fetch("/login", { method: "POST", headers: { "content-type": "text/plain" }, body: token });
  if (answer.ok) {
    location.replace("/");
    return;
  }
  const refusal = await answer.json().catch(() => null);
  problem.textContent = refusal ? `${refusal.found} ${refusal.remedy}` : `The gateway answered ${answer.status}.`;
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  logIn(document.getElementById("token").value.trim());
});

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", "/login"); // keep it out of the browser's history
  logIn(given);
}
