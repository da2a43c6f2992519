import { watchRun } from "./show.js";

watchRun();
