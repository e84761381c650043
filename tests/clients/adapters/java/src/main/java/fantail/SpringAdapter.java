package fantail;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.function.Consumer;
import org.springframework.core.ParameterizedTypeReference;
import org.springframework.http.HttpHeaders;
import org.springframework.http.codec.ServerSentEvent;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.reactive.function.client.WebClientResponseException;

/** Spring's WebClient with its decoder of events; connecting again is the caller's. */
final class SpringAdapter {
  public static void main(String[] arguments) throws Exception {
    JsonNode order = Said.order(arguments[0]);
    Consumer<HttpHeaders> headers = into -> {
      for (Map.Entry<String, JsonNode> header : order.get("headers").properties()) {
        into.set(header.getKey(), header.getValue().asText());
      }
      if (!order.get("last_event_id").asText().isEmpty()) {
        into.set("Last-Event-ID", order.get("last_event_id").asText());
      }
    };
    ParameterizedTypeReference<ServerSentEvent<String>> type = new ParameterizedTypeReference<>() {};
    try {
      WebClient.create().get().uri(new java.net.URI(order.get("url").asText())).headers(headers)
          .exchangeToFlux(answer -> {
            if (answer.statusCode().value() != 200) {
              Said.error(answer.statusCode().value(), "");
              return answer.releaseBody().thenMany(reactor.core.publisher.Flux.<ServerSentEvent<String>>empty());
            }
            Said.open();
            return answer.bodyToFlux(type);
          })
          .doOnNext(each -> Said.event(each.event(), each.data(), each.id()))
          .blockLast();
    } catch (WebClientResponseException error) {
      Said.error(null, error.toString());
    } catch (RuntimeException error) {
      Said.error(null, String.valueOf(error));
    }
    Said.closed();
    Runtime.getRuntime().halt(0);
  }
}
