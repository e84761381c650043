// Code blocks of the documentation, and programs made of them: each language has a frame that holds what a reader would
// have around the block already.
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";

export const ROOT = new URL("../../", import.meta.url).pathname;
const execute = promisify(execFile);

// The blocks of a language in a page that contain `having`.
export function blocks(page, language, having = "") {
  const text = readFileSync(ROOT + page, "utf8");
  const found = [...text.matchAll(/^ *```(\w+)\n([^]*?)\n *```$/gm)];
  return found.filter(([, of, code]) => of === language && code.includes(having)).map(([, , code]) => code);
}

// The one such block, or the one that is just that.
export function block(page, language, having) {
  const containing = blocks(page, language, having);
  const exact = containing.filter((code) => code === having);
  const found = exact.length > 0 ? exact : containing;
  if (found.length !== 1) throw new Error(`${page} has ${found.length} ${language} blocks with ${having}`);
  return found[0];
}

// The cell `after` of a framework in docs/moving.md.
export function after(framework) {
  const page = readFileSync(`${ROOT}docs/moving.md`, "utf8");
  const row = new RegExp(`^\\| ${framework} \\|.*\\| \`(.*?)\``, "m").exec(page);
  if (!row) throw new Error(`docs/moving.md has no ${framework}`);
  return row[1];
}

// Runs programs with the dependencies of the examples, against a cluster's Redis.
export class Runner {
  #installed = new Set();
  folder = mkdtempSync("/tmp/fantail-snippets-");

  constructor({ address, port }) {
    Object.assign(this, { address, port });
  }

  end() {
    rmSync(this.folder, { recursive: true });
  }

  async #run(folder, command, ...args) {
    await execute(command, args, { cwd: folder, timeout: 900_000, maxBuffer: 1e8 }).catch((error) => {
      throw new Error(`${command} ${args.join(" ")}: ${error.message}\n${error.stdout}`);
    });
  }

  #here(name, files) {
    const folder = `${this.folder}/${name}`;
    mkdirSync(folder, { recursive: true });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(`${folder}/${file}`), { recursive: true });
      writeFileSync(`${folder}/${file}`, text.replaceAll("127.0.0.1", this.address).replaceAll("6379", this.port));
    }
    return folder;
  }

  // Installs what an example needs, once, by its README's command up to where that starts it.
  async #install(example) {
    if (this.#installed.has(example)) return;
    this.#installed.add(example);
    const whole = block(`examples/${example}/README.md`, "sh", " && ");
    const [command] = whole.split(/ && (?=npm start|\.venv\/bin\/uvicorn)/);
    await this.#run(`${ROOT}examples/${example}`, "bash", "-c", command);
  }

  async python(code) {
    await this.#install("tokens");
    const connected = code.replaceAll("redis.Redis()", 'redis.Redis(host="127.0.0.1", port=6379)');
    const folder = this.#here("python", { "main.py": connected });
    await this.#run(folder, `${ROOT}examples/tokens/.venv/bin/python`, "main.py");
  }

  async node(code) {
    await this.#install("chat");
    const connected = code.replaceAll("createClient()", 'createClient({ url: "redis://127.0.0.1:6379" })');
    const folder = this.#here("node", { "main.mjs": connected });
    rmSync(`${folder}/node_modules`, { force: true });
    symlinkSync(`${ROOT}examples/chat/node_modules`, `${folder}/node_modules`);
    await this.#run(folder, "node", "main.mjs");
  }

  async go(code, imports = []) {
    const all = ["context", "github.com/redis/go-redis/v9", ...imports].map((name) => `\t"${name}"`).join("\n");
    const frame = `package main\n\nimport (\n${all}\n)\n\nfunc main() {\n\tctx := context.Background()\n`;
    const checked = `${code.replace(/^client\.XAdd/m, "err := client.XAdd").trimEnd()}.Err()`;
    const folder = this.#here("go", { "main.go": `${frame}${checked}\n\tif err != nil {\n\t\tpanic(err)\n\t}\n}\n` });
    for (const file of ["go.mod", "go.sum"]) cpSync(`${ROOT}examples/logs/${file}`, `${folder}/${file}`);
    await this.#run(folder, "go", "run", ".");
  }

  async jedis(code) {
    const folder = this.#here("jedis", {
      "pom.xml": readFileSync(`${ROOT}tests/examples/snippets/pom.xml`, "utf8"),
      "Main.java": `import java.util.Map;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.params.XAddParams;

public class Main {
  public static void main(String[] args) {
    var jedis = new Jedis("127.0.0.1", 6379);
    ${code}
  }
}
`,
    });
    await this.#run(folder, "mvn", "-q", "-B", "dependency:copy-dependencies");
    await this.#run(folder, "java", "-cp", "target/dependency/*", "Main.java");
  }

  // In the application of examples/progress, before it serves.
  async spring(code) {
    const folder = this.#here("spring", {
      "pom.xml": readFileSync(`${ROOT}examples/progress/pom.xml`, "utf8"),
      "src/main/resources/application.properties": `spring.data.redis.url=redis://127.0.0.1:6379
spring.main.web-application-type=none
`,
      "src/main/java/Main.java": `package snippet;

import java.util.Map;
import org.springframework.boot.CommandLineRunner;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.data.redis.core.StringRedisTemplate;

@SpringBootApplication
public class Main {
  public static void main(String[] args) {
    SpringApplication.run(Main.class, args);
  }

  @Bean
  CommandLineRunner snippet(StringRedisTemplate redis) {
    return args -> {
      var data = "moved";
      ${code};
    };
  }
}
`,
    });
    await this.#run(folder, "mvn", "-q", "-B", "spring-boot:run");
  }

  async rust(code) {
    const folder = this.#here("rust", {
      "src/main.rs": `#[allow(unused_imports)]
use redis::{Commands, streams::StreamMaxlen};

fn main() -> Result<(), redis::RedisError> {
${code.replaceAll('"redis://127.0.0.1"', '"redis://127.0.0.1:6379"')}
Ok(())
}
`,
    });
    // Under another name: programs of one name and one target folder replace each other.
    for (const file of ["Cargo.toml", "Cargo.lock"]) {
      const text = readFileSync(`${ROOT}examples/batching/${file}`, "utf8");
      writeFileSync(`${folder}/${file}`, text.replaceAll("fantail-example-batching", "fantail-snippet"));
    }
    await this.#run(folder, "cargo", "run", "-q");
  }
}
