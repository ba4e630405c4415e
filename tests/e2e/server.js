// A server of our own for a test: formatted in a temporary directory, listening on a free port of the loopback.
'use strict';
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const program = process.env.TAEL_PROGRAM;
const smallLimits = ['--accounts-max', '20000', '--transfers-max', '400000', '--sessions-max', '64'];

async function freePort() {
  const listener = net.createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

// Runs `tael ARGUMENTS` to its end. Returns {status, stdout, stderr}.
function tael(...args) {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.error) throw result.error;
  return result;
}

// The same for a command that prints JSON and must succeed.
function taelJson(...args) {
  const { status, stdout, stderr } = tael(...args);
  if (status !== 0) throw new Error(`tael ${args.join(' ')}: exit code ${status}\n${stdout}${stderr}`);
  return JSON.parse(stdout);
}

class Server {
  // `directory`: where the ledger goes; made, and removed by `destroy`, where it is not given.
  static async make({ directory, cluster = 7n, limits = [] } = {}) {
    const server = new Server();
    server.cluster = cluster;
    server.temporary = directory ? null : fs.mkdtempSync(path.join(os.tmpdir(), 'tael-e2e-'));
    server.data = path.join(directory ?? server.temporary, 'ledger');
    server.port = await freePort();
    server.address = `127.0.0.1:${server.port}`;
    server.log = '';
    const format = tael('format', '--cluster', `${cluster}`, ...smallLimits, ...limits, server.data);
    if (format.status !== 0) throw new Error(`tael format: ${format.stderr}`);
    return server;
  }

  async start() {
    const child = spawn(program, ['start', '--listen', this.address, this.data], { stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (text) => { this.log += text; };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.child = child;
    this.ended = once(child, 'close').then(([code, signal]) => {
      if (!this.expected) console.error(`the server ended by itself, ${code ?? signal}, having said:\n${this.log}`);
      return { code, signal };
    });
    this.expected = false;
    for (let tries = 0; !(await this.accepts()); tries++) {
      if (child.exitCode !== null || tries === 300) throw new Error(`the server does not listen\n${this.log}`);
      await sleep(50);
    }
  }

  accepts() {
    return new Promise((resolve) => {
      const socket = net.connect(this.port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
  }

  async signal(name) {
    this.expected = true;
    this.child.kill(name);
    return this.ended;
  }

  async kill() {
    const { signal } = await this.signal('SIGKILL');
    if (signal !== 'SIGKILL') throw new Error(`the server had ended before it was killed\n${this.log}`);
  }

  // A clean stop. Returns {code, signal}.
  async stop() {
    return this.signal('SIGTERM');
  }

  async destroy() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) await this.signal('SIGKILL');
    if (this.temporary) fs.rmSync(this.temporary, { recursive: true, force: true });
  }
}

// A test that fails instead of waiting for ever: a client retries until it is answered.
const chapter = (name, story) => test(name, { timeout: 90_000 }, story);

module.exports = { Server, chapter, tael, taelJson, sleep };
