// Starts Swagger UI, which is a global of `window`. A file of its own, because the CSP forbids inline scripts.
import { root } from "./root.js";
window.SwaggerUIBundle({ url: `${root}/openapi.json`, dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
