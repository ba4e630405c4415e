// A small file system of its own, in a file: to be filled to the last byte. It needs root and a loop device.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

function run(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`${command}: ${error ? error.message : stderr.trim()}`);
}

class Disk {
  // Throws where it cannot be had; the message is a reason to skip.
  static make(sizeBytes) {
    const disk = new Disk();
    disk.temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'tael-disk-'));
    disk.directory = path.join(disk.temporary, 'mounted');
    const image = path.join(disk.temporary, 'image');
    try {
      fs.mkdirSync(disk.directory);
      fs.writeFileSync(image, '');
      fs.truncateSync(image, sizeBytes);
      run('mkfs.ext4', '-q', '-m', '0', image);
      run('mount', '-o', 'loop', image, disk.directory);
    } catch (error) {
      fs.rmSync(disk.temporary, { recursive: true });
      throw error;
    }
    return disk;
  }

  // Takes all the room there is, down to the last block.
  fill() {
    const file = fs.openSync(path.join(this.directory, 'filler'), 'a');
    for (let chunk = Buffer.alloc(1 << 20); chunk.length >= 512;) {
      try {
        fs.writeSync(file, chunk);
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error;
        chunk = chunk.subarray(0, chunk.length / 2);
      }
    }
    fs.closeSync(file);
  }

  makeRoom() {
    fs.rmSync(path.join(this.directory, 'filler'));
  }

  destroy() {
    run('umount', this.directory);
    fs.rmSync(this.temporary, { recursive: true });
  }
}

module.exports = { Disk };
