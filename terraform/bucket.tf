# Artifacts of runs: logs, patches, reports, saved work. Only the dispatcher opens it.

resource "google_storage_bucket" "artifacts" {
  #checkov:skip=CKV_GCP_62:Who reads an artifact is recorded by the dispatcher, the only identity with access.
  #checkov:skip=CKV_GCP_78:Artifacts are written once under the run's own name and never replaced; soft deletion covers mistakes.
  name                        = "${var.project_id}-pullwright-artifacts"
  location                    = var.region
  labels                      = local.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  soft_delete_policy {
    retention_duration_seconds = 604800 # a week
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.artifact_days
    }
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "dispatcher" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = google_service_account.dispatcher.member
}
