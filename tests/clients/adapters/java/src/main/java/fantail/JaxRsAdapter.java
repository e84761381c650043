package fantail;

import com.fasterxml.jackson.databind.JsonNode;
import jakarta.ws.rs.WebApplicationException;
import jakarta.ws.rs.client.Client;
import jakarta.ws.rs.client.ClientBuilder;
import jakarta.ws.rs.client.ClientRequestFilter;
import jakarta.ws.rs.client.ClientResponseFilter;
import jakarta.ws.rs.sse.SseEventSource;
import java.util.concurrent.TimeUnit;

/** Jakarta REST's SseEventSource, which connects again by itself: Jersey's or RESTEasy's, whichever is there. */
final class JaxRsAdapter {
  public static void main(String[] arguments) throws Exception {
    JsonNode order = Said.order(arguments[0]);
    Client client = ClientBuilder.newClient();
    client.register((ClientRequestFilter) request -> {
      order.get("headers").fields().forEachRemaining(each -> request.getHeaders().putSingle(each.getKey(), each.getValue().asText()));
    });
    client.register((ClientResponseFilter) (request, answer) -> {
      if (answer.getStatus() == 200) {
        Said.open();
      } else {
        Said.error(answer.getStatus(), "");
      }
    });
    SseEventSource source = SseEventSource.target(client.target(order.get("url").asText()))
        .reconnectingEvery(500, TimeUnit.MILLISECONDS).build();
    source.register(
        each -> Said.event(each.getName(), each.readData(String.class), each.getId()),
        error -> Said.error(error instanceof WebApplicationException no ? no.getResponse().getStatus() : null, String.valueOf(error)),
        JaxRsAdapter::end);
    source.open();
    while (source.isOpen()) {
      Thread.sleep(50);
    }
    end();
  }

  private static void end() {
    Said.closed();
    Runtime.getRuntime().halt(0);
  }
}
