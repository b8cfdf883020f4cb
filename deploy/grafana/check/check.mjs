// Checks every board in ../dashboards, or the files that are given, against board.ts
// and so against Grafana's types. It exits 0 when all fit, 1 with tsc's words when not.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const boards = join(here, '..', 'dashboards');
const shipped = readdirSync(boards).flatMap((kind) => readdirSync(join(boards, kind)).map((name) => join(boards, kind, name)));
const files = process.argv.length > 2 ? process.argv.slice(2) : shipped;
if (files.length === 0) {
	console.error('boards-check: there are no boards');
	process.exit(1);
}
// Below this folder, so that the types are found.
const work = mkdtempSync(join(here, 'build-'));
let status = 1;
try {
	const sources = files.map((file) => {
		const source = join(work, `${basename(dirname(file))}-${basename(file, '.json')}.ts`);
		writeFileSync(source, `import type { Board } from '../board';\nexport const board: Board = ${readFileSync(file, 'utf8')};\n`);
		return source;
	});
	const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');
	const flags = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--pretty', 'false'];
	status = spawnSync(process.execPath, [tsc, ...flags, join(here, 'planted.ts'), ...sources], { stdio: 'inherit' }).status ?? 1;
} finally {
	rmSync(work, { recursive: true });
}
if (status === 0) {
	console.log(`boards-check: ${files.length} boards are of Grafana's types`);
}
process.exit(status);
