<?php
// Symfony's EventSourceHttpClient, of Debian's package; it connects again by itself.
require '/usr/share/php/Symfony/Component/HttpClient/autoload.php';

use Symfony\Component\HttpClient\Chunk\ServerSentEvent;
use Symfony\Component\HttpClient\EventSourceHttpClient;
use Symfony\Contracts\HttpClient\Exception\ExceptionInterface;

$order = json_decode($argv[1], true);

function say(string $kind, array $fields = []): void
{
    echo json_encode(['kind' => $kind] + $fields, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_UNICODE), "\n";
}

$begun = null;
$headers = $order['headers'] + ('' === $order['last_event_id'] ? [] : ['Last-Event-ID' => $order['last_event_id']]);
$client = new EventSourceHttpClient();
$source = $client->connect($order['url'], [
    'headers' => $headers,
    // It does not tell of an answer after the first one.
    'on_progress' => function (int $now, int $size, array $info) use (&$begun): void {
        if (200 === $info['http_code'] && $begun !== $info['start_time']) {
            $begun = $info['start_time'];
            say('open');
        }
    },
]);
try {
    while (true) {
        foreach ($client->stream($source, 2) as $chunk) {
            if ($chunk->isTimeout()) {
                continue;
            }
            if ($chunk->isFirst() && 200 !== $source->getStatusCode()) {
                say('error', ['status' => $source->getStatusCode(), 'text' => '']);
            }
            if ($chunk->isLast()) {
                break 2;
            }
            if ($chunk instanceof ServerSentEvent) {
                say('event', ['type' => $chunk->getType(), 'data' => $chunk->getData(), 'id' => $chunk->getId()]);
            }
        }
    }
} catch (ExceptionInterface $error) {
    say('error', ['status' => null, 'text' => $error->getMessage()]);
}
say('closed');
