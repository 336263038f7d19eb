// The API's page: Swagger UI for this site's own OpenAPI document.

const container = document.querySelector("[data-schema]");

window.SwaggerUIBundle({
  url: container.dataset.schema,
  domNode: container,
  deepLinking: true,
  validatorUrl: null,
  presets: [window.SwaggerUIBundle.presets.apis],
});
