// Makes a container in azurite: node container.mjs http://127.0.0.1:PORT ACCOUNT NAME, with the account's key in AZURE_STORAGE_KEY.
import { createHmac } from "node:crypto";

const [endpoint, account, name] = process.argv.slice(2);
const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-12-02" };
const signed = [
  ["PUT", ...Array(11).fill("")].join("\n"),
  ...Object.entries(headers).map(([key, value]) => `${key}:${value}`),
  `/${account}/${account}/${name}`,
  "restype:container",
].join("\n");
const signature = createHmac("sha256", Buffer.from(process.env.AZURE_STORAGE_KEY, "base64")).update(signed).digest("base64");
headers.authorization = `SharedKey ${account}:${signature}`;
const answer = await fetch(`${endpoint}/${account}/${name}?restype=container`, { method: "PUT", headers });
if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
