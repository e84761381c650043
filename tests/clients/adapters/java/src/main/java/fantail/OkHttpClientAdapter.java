package fantail;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** OkHttp's EventSource: reads one answer; connecting again is the caller's. */
final class OkHttpClientAdapter {
  public static void main(String[] arguments) throws Exception {
    JsonNode order = Said.order(arguments[0]);
    // OkHttp ends an answer after ten seconds without a byte unless told otherwise.
    OkHttpClient.Builder builder = new OkHttpClient.Builder();
    if (!order.path("time_outs").asText().equals("its own")) {
      builder = builder.readTimeout(Duration.ZERO);
    }
    OkHttpClient client = builder.build();
    Request.Builder request = new Request.Builder().url(order.get("url").asText());
    order.get("headers").fields().forEachRemaining(header -> request.header(header.getKey(), header.getValue().asText()));
    if (!order.get("last_event_id").asText().isEmpty()) {
      request.header("Last-Event-ID", order.get("last_event_id").asText());
    }
    EventSources.createFactory(client).newEventSource(request.build(), new Listener());
  }

  private static final class Listener extends EventSourceListener {
    @Override
    public void onOpen(EventSource source, Response answer) {
      Said.answer(answer.protocol().toString());
      Said.open();
    }

    @Override
    public void onEvent(EventSource source, String id, String type, String data) {
      Said.event(type, data, id);
    }

    @Override
    public void onClosed(EventSource source) {
      end();
    }

    @Override
    public void onFailure(EventSource source, Throwable error, Response answer) {
      boolean refused = answer != null && answer.code() != 200;
      Said.error(refused ? answer.code() : null, String.valueOf(error));
      end();
    }

    private void end() {
      Said.closed();
      // Its pool of threads would keep the process for a minute.
      Runtime.getRuntime().halt(0);
    }
  }
}
