// The dashboards, in the order of a walk from the whole to the hub itself.

import deployments from "./deployments.mjs";
import compare from "./compare.mjs";
import application from "./application.mjs";
import environment from "./environment.mjs";
import cluster from "./cluster.mjs";
import rollout from "./rollout.mjs";
import fleet from "./fleet.mjs";
import promotion from "./promotion.mjs";
import hub from "./hub.mjs";

export const DASHBOARDS = [deployments, compare, application, environment, cluster, rollout, fleet, promotion, hub];
