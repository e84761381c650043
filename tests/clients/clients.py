"""All clients, in the order of the tables."""

import clients_node
import clients_other
import clients_page

CLIENTS = clients_page.CLIENTS + clients_node.CLIENTS + clients_other.CLIENTS
