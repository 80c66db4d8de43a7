// Draws the OpenAPI document of this server with Swagger UI. The token is asked for where one is needed; it is kept in no storage and no URL.
"use strict";

const door = document.getElementById("door");
const refusal = document.getElementById("refusal");

// The curl line of each call is made to be copied and shown: it names the token, and does not tell it.
const withoutToken = () => ({
  wrapComponents: {
    curl: (Curl, { React }) => (props) => React.createElement(Curl, {
      ...props,
      request: props.request.update("headers", (headers) => headers?.map((value, name) => name === "Authorization" ? "Bearer $TOKEN" : value)),
    }),
  },
});

async function show(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("openapi.json", { headers, cache: "no-store" });
  if (!answer.ok) {
    const problem = await answer.json();
    door.hidden = false;
    refusal.textContent = token || answer.status !== 401 ? problem.message : "";
    return;
  }
  door.remove();
  const base = new URL(".", location.href).pathname.replace(/\/$/, "");  // a proxy may serve this below a path
  const spec = await answer.json();
  spec.servers = spec.servers.map((server) => ({ ...server, url: base + server.url.replace(/\/$/, "") || "/" }));
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#ui",
    layout: "BaseLayout",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [withoutToken],
    deepLinking: true,
    docExpansion: "list",
    displayRequestDuration: true,
    validatorUrl: null,
    persistAuthorization: false,
    onComplete: () => token && ui.preauthorizeApiKey("token", token),
  });
}

function refused(error) {
  door.hidden = false;
  refusal.textContent = `The server does not answer: ${error.message}`;
}

door.addEventListener("submit", (event) => {
  event.preventDefault();
  show(document.getElementById("token").value.trim()).catch(refused);
});
show("").catch(refused);
