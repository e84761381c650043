package fantail.example;

import java.time.Duration;
import java.util.Map;
import org.springframework.data.redis.core.StringRedisTemplate;
import org.springframework.scheduling.annotation.Async;
import org.springframework.stereotype.Component;

/** A job that takes a while. It tells how far it is, and that it has ended. */
@Component
class Import {
  private static final int ROWS = 6_000;
  private final StringRedisTemplate redis;

  Import(StringRedisTemplate redis) {
    this.redis = redis;
  }

  @Async
  void run(String channel) {
    var stream = "sse:" + channel;
    try {
      for (int row = 1; row <= ROWS; row++) {
        importRow();
        // A bar has a hundred places: more events would show nothing more.
        if (row % (ROWS / 100) == 0) {
          redis.opsForStream().add(stream, Map.of("data", String.valueOf(row * 100 / ROWS)));
        }
      }
      redis.opsForStream().add(stream, Map.of("event", "done", "data", ROWS + " rows", "final", "1"));
    } catch (InterruptedException stopped) {
      redis.opsForStream().add(stream, Map.of("event", "failed", "data", "stopped", "final", "1"));
    } finally {
      redis.expire(stream, Duration.ofHours(1));
    }
  }

  /** Your own work goes here. */
  private void importRow() throws InterruptedException {
    Thread.sleep(2);
  }
}
