package fantail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** What an adapter is told and says; see tests/clients/README.md. */
final class Said {
  private static final ObjectMapper JSON = new ObjectMapper();

  private Said() {}

  static JsonNode order(String text) throws Exception {
    return JSON.readTree(text);
  }

  static synchronized void say(ObjectNode line) {
    System.out.println(line);
    System.out.flush();
  }

  private static ObjectNode line(String kind) {
    return JSON.createObjectNode().put("kind", kind);
  }

  static void open() {
    say(line("open"));
  }

  static void answer(String protocol) {
    say(line("answer").put("protocol", protocol));
  }

  static void closed() {
    say(line("closed"));
  }

  static void event(String type, String data, String id) {
    String known = type == null || type.isEmpty() ? "message" : type;
    say(line("event").put("type", known).put("data", data == null ? "" : data).put("id", id == null ? "" : id));
  }

  static void error(Integer status, String text) {
    say(line("error").put("status", status).put("text", text));
  }
}
