// Serves the fixtures of the file that is named, on a free port, prints the address
// as its one line, and ends with its standard input: so it never outlives its test.
import { LLMock } from "@copilotkit/aimock";

console.log = console.error; // of whatever the mock says
const mock = new LLMock({ port: 0, strict: true, logLevel: "warn", journalMaxEntries: 0 });
mock.loadFixtureFile(process.argv[2]);
await mock.start();
process.stdout.write(mock.url + "\n");
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
