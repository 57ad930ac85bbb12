# Places for secrets; the values never pass through Terraform or its state: gcloud secrets versions add NAME --data-file=-
# Names as in infra/platform_secrets.py; a test compares the two.

locals {
  # true: the dispatcher may add and destroy versions too, because an admin can store them through POST /config
  secrets = {
    run-token-key           = false
    github-app-id           = true
    github-app-private-key  = true
    github-webhook-secret   = true
    anthropic-api-key       = false
    anthropic-auth-token    = false
    claude-code-oauth-token = false
  }
}

resource "google_secret_manager_secret" "platform" {
  for_each            = local.secrets
  secret_id           = each.key
  labels              = local.labels
  version_destroy_ttl = "604800s" # a version destroyed by mistake can be brought back for a week

  replication {
    dynamic "auto" {
      for_each = length(var.secret_locations) == 0 ? [1] : []
      content {}
    }
    dynamic "user_managed" {
      for_each = length(var.secret_locations) > 0 ? [1] : []
      content {
        dynamic "replicas" {
          for_each = var.secret_locations
          content {
            location = replicas.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_iam_member" "dispatcher_reads" {
  for_each  = google_secret_manager_secret.platform
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.dispatcher.member
}

resource "google_secret_manager_secret_iam_member" "dispatcher_writes" {
  for_each  = { for name, secret in google_secret_manager_secret.platform : name => secret if local.secrets[name] }
  secret_id = each.value.id
  role      = "roles/secretmanager.secretVersionManager"
  member    = google_service_account.dispatcher.member
}

# what projects set for their own tools: made later, one at a time, and told apart by name (infra/core/project_secrets.py)
resource "google_project_iam_member" "dispatcher_reads_secrets_of_projects" {
  project = var.project_id
  role    = "roles/secretmanager.secretAccessor"
  member  = google_service_account.dispatcher.member

  condition {
    title      = "secrets of projects only"
    expression = "resource.name.startsWith(\"projects/${data.google_project.this.number}/secrets/project-\")"
  }
}
