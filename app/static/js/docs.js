// The API to read and to try, in Swagger UI, without the validator that it would ask elsewhere.
/* global SwaggerUIBundle */

/** The server's own URL: it may be below a path, which its document does not know. */
const root = new URL("./", location.href).href;

SwaggerUIBundle({
  url: "openapi.json",
  requestInterceptor: (request) => {
    if (!request.url.startsWith(root))
      request.url = request.url.replace(`${location.origin}/`, root);
    return request;
  },
  dom_id: "#api",
  validatorUrl: null,
  deepLinking: true,
  tryItOutEnabled: true,
  persistAuthorization: false,
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
});
