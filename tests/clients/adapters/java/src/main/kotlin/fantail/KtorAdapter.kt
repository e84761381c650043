package fantail

import io.ktor.client.HttpClient
import io.ktor.client.engine.cio.CIO
import io.ktor.client.plugins.HttpSend
import io.ktor.client.plugins.plugin
import io.ktor.client.plugins.sse.SSE
import io.ktor.client.plugins.sse.SSEClientException
import io.ktor.client.plugins.sse.sse
import io.ktor.client.request.header
import kotlinx.coroutines.runBlocking

/** Ktor's client with its plugin for events, told to connect again by itself. */
fun main(arguments: Array<String>) = runBlocking {
    val order = Said.order(arguments[0])
    val client = HttpClient(CIO) {
        install(SSE) { maxReconnectionAttempts = Int.MAX_VALUE }
    }
    client.plugin(HttpSend).intercept { request ->
        execute(request).also { if (it.response.status.value == 200) Said.open() }
    }
    try {
        client.sse(order.get("url").asText(), request = {
            order.get("headers").properties().forEach { header(it.key, it.value.asText()) }
            if (order.get("last_event_id").asText() != "") header("Last-Event-ID", order.get("last_event_id").asText())
        }) {
            incoming.collect { Said.event(it.event, it.data, it.id) }
        }
    } catch (error: SSEClientException) {
        val status = error.response?.status?.value
        Said.error(if (status == 200) null else status, error.toString())
    }
    Said.closed()
    Runtime.getRuntime().halt(0)
}
