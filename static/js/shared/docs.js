// Starts Swagger UI, which sets itself on `window`, from a file: the page may run no inline script.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
