variable "project_id" {
  description = "The Google Cloud project that everything lives in. Use one project per environment."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and dashes, and starts with a letter. Find yours with: gcloud projects list"
  }
}

variable "region" {
  description = "Where services, jobs, queues, bucket and database live."
  type        = string
  default     = "us-central1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region looks like us-central1 or europe-west4 (a zone has one more part). List them with: gcloud run regions list"
  }
}

variable "environment" {
  description = "Shown on GET / and in labels."
  type        = string
  default     = "production"
  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "Use development, staging or production."
  }
}

variable "public_by" {
  description = <<-EOT
    How webhooks get past Cloud Run's own check, since GitHub and Slack cannot present a Google identity:
    check_off (the invoker check is switched off; works under domain-restricted sharing), all_users (the classic
    allUsers invoker) or nobody (put a load balancer in front, or use dispatch calls with identity tokens only).
    In every case the dispatcher itself checks signatures, keys and tokens.
  EOT
  type        = string
  default     = "check_off"
  validation {
    condition     = contains(["check_off", "all_users", "nobody"], var.public_by)
    error_message = "Use check_off, all_users or nobody."
  }
}

variable "public_url" {
  description = "The dispatcher's address when it has a domain of its own, such as https://pullwright.example.org. Empty: its run.app address."
  type        = string
  default     = ""
  validation {
    condition     = var.public_url == "" || can(regex("^https://[a-z0-9.-]+$", var.public_url))
    error_message = "Use https:// and a host name, without a path or a slash at the end."
  }
}

variable "images" {
  description = "First images of the two services, by digest or tag; cloudbuild.yaml replaces them and Terraform then leaves them alone."
  type = object({
    dispatcher = optional(string, "us-docker.pkg.dev/cloudrun/container/hello")
    runner     = optional(string, "us-docker.pkg.dev/cloudrun/container/hello")
  })
  default = {}
}

variable "dispatcher" {
  description = "Size of the control plane. An instance kept warm answers the first webhook without a cold start."
  type = object({
    cpu           = optional(number, 1)
    memory_mib    = optional(number, 512)
    concurrency   = optional(number, 80)
    min_instances = optional(number, 0)
    max_instances = optional(number, 10)
  })
  default = {}
  validation {
    condition     = contains([1, 2, 4], var.dispatcher.cpu) && var.dispatcher.memory_mib >= 512
    error_message = "Cloud Run takes 1, 2 or 4 vCPU here, and the dispatcher needs 512 MiB or more."
  }
  validation {
    condition     = var.dispatcher.min_instances <= var.dispatcher.max_instances && var.dispatcher.concurrency <= 1000
    error_message = "min_instances cannot be above max_instances, and Cloud Run takes at most 1000 requests at once."
  }
}

variable "resource_classes" {
  description = <<-EOT
    The sizes a project can ask for, each a job of its own: Cloud Run cannot change CPU, memory or image when a job is
    started. The smallest class that fits is used. The file system of a run is memory, so it counts too.
  EOT
  type = map(object({
    cpu        = number
    memory_gib = number
    hours      = optional(number, 2)
  }))
  default = {
    "1x2"  = { cpu = 1, memory_gib = 2 }
    "2x4"  = { cpu = 2, memory_gib = 4 }
    "4x8"  = { cpu = 4, memory_gib = 8 }
    "8x16" = { cpu = 8, memory_gib = 16 }
  }
  validation {
    condition     = alltrue([for name, class in var.resource_classes : name == "${class.cpu}x${class.memory_gib}"])
    error_message = "A class is named after what it has, such as 2x4 for 2 vCPU and 4 GiB."
  }
  validation {
    condition = alltrue([for class in var.resource_classes :
      contains([1, 2, 4, 8], class.cpu) && class.memory_gib >= 1 && class.memory_gib <= min(32, class.cpu * 4) && class.memory_gib >= class.cpu / 2
    ])
    error_message = "Cloud Run takes 1, 2, 4 or 8 vCPU with half a GiB to 4 GiB for each, at most 32 GiB (https://cloud.google.com/run/docs/configuring/services/memory-limits)."
  }
  validation {
    condition     = alltrue([for class in var.resource_classes : class.hours >= 1 && class.hours <= 24])
    error_message = "A run may take 1 to 24 hours."
  }
}

variable "service_class" {
  description = "The resource class of the runner service, where runs of up to 25 minutes go."
  type        = string
  default     = "2x4"
  validation {
    condition     = contains(keys(var.resource_classes), var.service_class)
    error_message = "service_class has to be one of resource_classes."
  }
}

variable "runner_images" {
  description = <<-EOT
    Image catalogue: further runner images, by a short name that projects use as baseImage. Each becomes a job per resource class.
    They must be built on the runner image (docs/images.md).
  EOT
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name, image in var.runner_images : can(regex("^[a-z][a-z0-9]{0,15}$", name)) && length(regexall("@sha256:[0-9a-f]{64}$", image)) == 1])
    error_message = "A catalogue name has up to 16 lower-case letters and digits; an image is named by its digest (…@sha256:…), so that it cannot change under a run."
  }
}

variable "max_concurrent_runs" {
  description = "Most runs at once, of the service and the jobs together."
  type        = number
  default     = 10
  validation {
    condition     = var.max_concurrent_runs >= 1 && var.max_concurrent_runs <= 100 && floor(var.max_concurrent_runs) == var.max_concurrent_runs
    error_message = "Use a whole number from 1 to 100 (a region's quota is about 100 instances until you ask for more)."
  }
}

# every setting's name, by program, as the generated page has them
locals {
  settings_page = { for part in split("\n## ", file("${path.module}/../docs/settings.md")) :
    split("\n", part)[0] => [for match in regexall("(?m)^\\| `([A-Z][A-Z0-9_]*)` \\|", part) : match[0]]
  }
  known_settings = { for program in ["Dispatcher", "Runner"] :
    lower(program) => concat(local.settings_page["Both programs"], local.settings_page[program])
  }
}

variable "settings" {
  description = "More settings for the dispatcher, by variable name as in docs/settings.md, such as { RUN_BUDGET_USD = \"2.50\" }. No secrets: those are in Secret Manager."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.settings) : contains(local.known_settings.dispatcher, name)])
    error_message = "docs/settings.md has no such setting of the dispatcher: ${join(", ", [for name in keys(var.settings) : name if !contains(local.known_settings.dispatcher, name)])}."
  }
  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("(KEY|TOKEN|SECRET|PASSWORD)$", name))])
    error_message = "Names are upper case, and secrets do not belong here: store them with gcloud secrets versions add."
  }
}

variable "runner_settings" {
  description = "More settings for runners, by variable name as in docs/settings.md, such as { RUNNER_SANDBOX = \"require\" }."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.runner_settings) : contains(local.known_settings.runner, name)])
    error_message = "docs/settings.md has no such setting of the runner: ${join(", ", [for name in keys(var.runner_settings) : name if !contains(local.known_settings.runner, name)])}."
  }
  validation {
    condition     = alltrue([for name in keys(var.runner_settings) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !can(regex("(KEY|TOKEN|SECRET|PASSWORD)$", name))])
    error_message = "Names are upper case, and a runner holds no secret."
  }
}

variable "network" {
  description = <<-EOT
    Runners leave through a VPC of their own: only HTTPS goes out, private addresses are closed but for private_ranges
    (a GitHub Enterprise server, a package mirror). With egress_proxy all of it but Google's own addresses has to go
    through that proxy. enabled = false uses Cloud Run's own way out, where nothing is filtered outside the sandbox.
  EOT
  type = object({
    enabled        = optional(bool, true)
    range          = optional(string, "10.8.0.0/22")
    private_ranges = optional(list(string), [])
    egress_proxy   = optional(object({ url = string, range = string }))
  })
  default = {}
  validation {
    condition     = can(cidrhost(var.network.range, 0)) && try(tonumber(split("/", var.network.range)[1]), 33) <= 26
    error_message = "range is a subnet such as 10.8.0.0/22; Cloud Run asks for a /26 or larger."
  }
  validation {
    condition     = alltrue([for range in var.network.private_ranges : can(cidrhost(range, 0))])
    error_message = "private_ranges are subnets such as 10.20.0.0/16."
  }
  validation {
    condition     = var.network.egress_proxy == null || (var.network.enabled && can(regex("^http://[a-z0-9.-]+:[0-9]+$", try(var.network.egress_proxy.url, ""))) && can(cidrhost(try(var.network.egress_proxy.range, ""), 0)))
    error_message = "egress_proxy needs network.enabled, a url such as http://10.8.1.2:3128, and the range it is in, such as 10.8.1.2/32."
  }
}

variable "artifact_days" {
  description = "Days that logs, patches and reports of runs are kept."
  type        = number
  default     = 90
  validation {
    condition     = var.artifact_days >= 1 && var.artifact_days <= 3650
    error_message = "Use 1 to 3650 days."
  }
}

variable "firestore_location" {
  description = "The database's location; it can never be changed. Empty: the region."
  type        = string
  default     = ""
}

variable "deletion_protection" {
  description = "Refuses to destroy services, jobs and database. Switch it off, apply, then destroy."
  type        = bool
  default     = true
}

variable "secret_locations" {
  description = "Regions that hold the secrets, for data residency; fixed at creation. Empty: Google decides."
  type        = list(string)
  default     = []
}

variable "alert_emails" {
  description = "Who is told when an alert fires. Empty: alerts are shown in the console only."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "An address looks like team@example.org."
  }
}

variable "budget" {
  description = "A monthly budget for the whole project that sends mail at 50, 80 and 100 percent. It warns; it does not stop anything."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
  })
  default = null
  validation {
    condition     = var.budget == null || (can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", try(var.budget.billing_account, ""))) && try(var.budget.amount, 0) >= 1)
    error_message = "billing_account looks like 012345-6789AB-CDEF01 (gcloud billing accounts list), and the amount is 1 or more."
  }
}
