#!/usr/bin/env bash
# Maven com.github.fppt:jedis-mock 1.1.18: the ids that XADD makes are no times.
# Guess: `XADD stream *` makes an id whose first part is the server's clock in Unix milliseconds (Redis docs, XADD), so that a test
# can read an entry's age, or ask XRANGE for the last five minutes.
# Seen: the first part is 0, and the second one counts. TIME on the same connection tells today's time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >pom.xml <<'E'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>probe</groupId>
  <artifactId>probe</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.github.fppt</groupId>
      <artifactId>jedis-mock</artifactId>
      <version>1.1.18</version>
    </dependency>
  </dependencies>
</project>
E
mvn -q -B dependency:copy-dependencies
cat >Probe.java <<'E'
import com.github.fppt.jedismock.RedisServer;
import java.util.Map;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.StreamEntryID;

public class Probe {
  public static void main(String[] args) throws Exception {
    var server = RedisServer.newRedisServer().start();
    try (var link = new Jedis(server.getHost(), server.getBindPort(), 60_000)) {
      for (int number = 0; number < 3; number++) {
        System.out.println("XADD " + link.xadd("stream", StreamEntryID.NEW_ENTRY, Map.of("field", "value")));
      }
      long seconds = Long.parseLong(link.time().get(0));
      System.out.println("TIME is now: " + (Math.abs(seconds - System.currentTimeMillis() / 1000) < 60));
    }
    server.stop();
  }
}
E
timeout 300 java -cp 'target/dependency/*' Probe.java 2>/dev/null | tee seen
diff seen - <<'E'
XADD 0-1
XADD 0-2
XADD 0-3
TIME is now: true
E
