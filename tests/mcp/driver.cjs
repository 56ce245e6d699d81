// A client of the official kind, for pytest: one command a line on standard input, its answer a line on
// standard output.
//
//   node driver.cjs DIR sdk|client COMMAND [ARG…]
//
// DIR has node_modules. `sdk` is the client of the revisions with a handshake, `client` that of the one
// without; COMMAND is the server. A command is {"do": …, …}; "progress": true gathers what is told,
// "cancel": true cancels at the first that is told.
'use strict';
const { createRequire } = require('node:module');
const readline = require('node:readline');

const [dir, kind, command, ...args] = process.argv.slice(2);
const load = createRequire(`${dir}/package.json`);
const name = '@modelcontextprotocol/';
const { Client } = load(kind === 'sdk' ? `${name}sdk/client/index.js` : `${name}client`);
const { StdioClientTransport } = load(kind === 'sdk' ? `${name}sdk/client/stdio.js` : `${name}client/stdio`);

const options = kind === 'sdk' ? {} : { versionNegotiation: { mode: { pin: '2026-07-28' } } };
const client = new Client({ name: 'aib-test', version: '1' }, options);
const transport = new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' });

function call(c) {
  const told = [];
  const stop = new AbortController();
  const how = { timeout: 100000, signal: stop.signal };
  if (c.progress || c.cancel)
    how.onprogress = (p) => {
      told.push(p);
      if (c.cancel) stop.abort('enough');
    };
  const params = { name: c.name, arguments: c.arguments };
  const asked = kind === 'sdk' ? client.callTool(params, undefined, how) : client.callTool(params, how);
  return asked.then((result) => ({ result, told }), (e) => ({ error: String(e), told }));
}

const verbs = {
  about: async () => ({
    server: client.getServerVersion(), instructions: client.getInstructions(),
    capabilities: client.getServerCapabilities(),
    version: kind === 'sdk' ? null : client.getNegotiatedProtocolVersion(),
  }),
  tools: () => client.listTools(),
  call,
  resources: (c) => client.listResources(c.cursor ? { cursor: c.cursor } : undefined),
  templates: () => client.listResourceTemplates(),
  read: (c) => client.readResource({ uri: c.uri }),
  ping: () => client.ping(),
};

async function main() {
  await client.connect(transport);
  console.log(JSON.stringify({ pid: transport.pid }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line);
    const answer = await verbs[c.do](c).catch((e) => ({ error: String(e), code: e.code }));
    console.log(JSON.stringify(answer));
  }
  await client.close();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
