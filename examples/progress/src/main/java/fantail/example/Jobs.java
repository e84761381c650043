package fantail.example;

import java.util.Map;
import java.util.UUID;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

@RestController
class Jobs {
  private final Import work;

  Jobs(Import work) {
    this.work = work;
  }

  @PostMapping("/jobs")
  @ResponseStatus(HttpStatus.ACCEPTED)
  Map<String, String> begin() {
    var channel = "job." + UUID.randomUUID();
    work.run(channel);
    return Map.of("channel", channel);
  }
}
