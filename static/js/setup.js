import { watchRun } from "./run.js";

watchRun();
