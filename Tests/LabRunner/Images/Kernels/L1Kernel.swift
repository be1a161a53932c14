// SPDX-License-Identifier: Apache-2.0

/// The kernel of an L1, and the changes to its modules.
struct L1Kernel: Hashable, Sendable {
  enum Source: Hashable, Sendable {
    case debian(KernelName)
    case local(LocalKernel)
  }

  let source: Source
  /// True if the kernel has iommufd.
  var iommufd = false
  /// The fault in the kernel's modules, or nil. A kernel with a fault has iommufd.
  var mutant: ModuleMutant?

  init(_ name: KernelName, iommufd: Bool = false) {
    source = .debian(name)
    self.iommufd = iommufd
  }

  /// Finds the kernel for an argument of `--l1`.
  ///
  /// - Parameter argument: The name of a kernel, or a path.
  /// - Throws: `LabError` with the cause and the remedy.
  init(argument: String) throws {
    if let name = KernelName(rawValue: argument) {
      guard KernelName.hostKernels.contains(name) else {
        throw LabError("a kernel for guests; use \(KernelName.hosts), or the path of a kernel")
      }
      source = .debian(name)
    } else {
      source = .local(try LocalKernel(path: argument))
    }
  }

  /// The name of a Debian kernel, or the version of a kernel at a path.
  var name: String {
    switch source {
    case .debian(let name): name.rawValue
    case .local(let kernel): kernel.version
    }
  }

  /// The text for messages.
  var description: String {
    name + (iommufd ? " and iommufd" : "") + (mutant.map { " and the fault \($0.rawValue)" } ?? "")
  }
}
