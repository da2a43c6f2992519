// Starts Swagger UI, which is a global of `window`. A file of its own, because the CSP forbids inline scripts.
window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
