// SPDX-License-Identifier: Apache-2.0

import VMM

extension RunError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .system(let error): error.remedy
    case .boot(let error): error.remedy
    case .memory(let error): error.remedy
    case .preparation(let error): error.remedy
    case .vfio(let error): error.remedy
    case .host(let problem): problem.remedy
    case .placement: "give another processor with --cpu-pin"
    case .trace: "free space on the file system, or give another file with --trace"
    case .function, .release, .sandbox, .vcpu, .mainThread, .kernel, .operation: nil
    }
  }
}
