package fantail;

import com.fasterxml.jackson.databind.JsonNode;
import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.HttpConnectStrategy;
import com.launchdarkly.eventsource.MessageEvent;
import com.launchdarkly.eventsource.StreamHttpErrorException;
import com.launchdarkly.eventsource.background.BackgroundEventHandler;
import com.launchdarkly.eventsource.background.BackgroundEventSource;
import java.net.URI;
import java.util.concurrent.TimeUnit;

/** LaunchDarkly's okhttp-eventsource on a thread of its own; it connects again by itself. */
final class LaunchDarklyAdapter implements BackgroundEventHandler {
  public static void main(String[] arguments) throws Exception {
    JsonNode order = Said.order(arguments[0]);
    HttpConnectStrategy[] how = {ConnectStrategy.http(URI.create(order.get("url").asText()))};
    if (!order.path("time_outs").asText().equals("its own")) {
      how[0] = how[0].readTimeout(0, TimeUnit.SECONDS);
    }
    order.get("headers").fields().forEachRemaining(each -> how[0] = how[0].header(each.getKey(), each.getValue().asText()));
    EventSource.Builder source = new EventSource.Builder(how[0]);
    if (!order.get("last_event_id").asText().isEmpty()) {
      source = source.lastEventId(order.get("last_event_id").asText());
    }
    new BackgroundEventSource.Builder(new LaunchDarklyAdapter(), source).build().start();
    Thread.sleep(Long.MAX_VALUE);
  }

  @Override
  public void onOpen() {
    Said.open();
  }

  @Override
  public void onClosed() {
  }

  @Override
  public void onMessage(String type, MessageEvent each) {
    Said.event(type, each.getData(), each.getLastEventId());
  }

  @Override
  public void onComment(String text) {
  }

  @Override
  public void onError(Throwable error) {
    Said.error(error instanceof StreamHttpErrorException no ? no.getCode() : null, String.valueOf(error));
  }
}
