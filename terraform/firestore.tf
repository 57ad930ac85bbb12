# The record of everything. Indexes follow infra/records/indexes.py; a test compares the two.

locals {
  # equality first, then the order in which pages are read; the adapter breaks ties by name in the same direction
  composite_indexes = {
    runs-by-state = {
      collection = "runs"
      fields     = ["data.state", "data.created_at"]
      descending = true
    }
    deliveries-by-outcome = {
      collection = "deliveries"
      fields     = ["data.outcome", "data.received_at"]
      descending = true
    }
    runs-of-a-repository = {
      collection = "runs"
      fields     = ["data.owner", "data.repo", "data.created_at"]
      descending = true
    }
  }
  # collections whose documents carry expire_at
  expiring = ["chunks", "commands", "commands_keys", "deliveries", "missed", "nonces"]
  # never asked for by content, and large: indexing them would cost a write for each entry
  unindexed = { chunks = "data.events" }
}

resource "google_firestore_database" "this" {
  name                              = "pullwright"
  location_id                       = var.firestore_location != "" ? var.firestore_location : var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection ? "ABANDON" : "DELETE"

  depends_on = [google_project_service.needed]
}

resource "google_firestore_index" "composite" {
  for_each   = local.composite_indexes
  database   = google_firestore_database.this.name
  collection = each.value.collection

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value
      order      = each.value.descending && fields.key == length(each.value.fields) - 1 ? "DESCENDING" : "ASCENDING"
    }
  }
  fields {
    field_path = "__name__"
    order      = each.value.descending ? "DESCENDING" : "ASCENDING"
  }
}

# deletion happens within about a day of the time; whoever reads checks the time itself
resource "google_firestore_field" "expiry" {
  for_each   = toset(local.expiring)
  database   = google_firestore_database.this.name
  collection = each.key
  field      = "expire_at"

  ttl_config {}
  index_config {} # no index: nothing orders by it, and rising timestamps would make one index row hot
}

resource "google_firestore_field" "unindexed" {
  for_each   = local.unindexed
  database   = google_firestore_database.this.name
  collection = each.key
  field      = each.value

  index_config {}
}

resource "google_project_iam_member" "dispatcher_documents" {
  project = var.project_id
  role    = "roles/datastore.user"
  member  = google_service_account.dispatcher.member

  condition {
    title      = "pullwright database only"
    expression = "resource.name == \"projects/${var.project_id}/databases/${google_firestore_database.this.name}\""
  }
}
