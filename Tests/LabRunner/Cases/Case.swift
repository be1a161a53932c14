// SPDX-License-Identifier: Apache-2.0

import Linux

/// One case of the lab.
struct Case: Sendable {
  let name: String
  /// The property that the case shows, for `Tests/lab list`.
  let purpose: String
  /// The time limit in seconds.
  let limit: Int
  let emulation: Emulation
  /// True if `Tests/lab long` runs the case and `Tests/lab test` does not.
  let isLong: Bool
  /// True if the case runs only in an L1 with iommufd.
  let needsIOMMUFD: Bool
  /// The first version of Linux in which L1 can run the case, or nil for any version.
  let needsLinux: KernelVersion?
  /// The kernels of the case's guests that the lab does not always have.
  let guestKernels: [KernelName]
  /// The suite of the systemd that the case needs, or nil.
  let systemd: String?
  /// Runs the case. Returns a remark for the report; throws `Failed` or `Skipped`.
  let body: @Sendable (CaseContext) throws -> String

  init(
    _ name: String, _ purpose: String, limit: Int = 60, emulation: Emulation = .inTurns,
    isLong: Bool = false, needsIOMMUFD: Bool = false, needsLinux: KernelVersion? = nil,
    guestKernels: [KernelName] = [], systemd: String? = nil,
    body: @escaping @Sendable (CaseContext) throws -> String
  ) {
    (self.name, self.purpose, self.limit, self.body) = (name, purpose, limit, body)
    self.emulation = emulation
    self.isLong = isLong
    self.needsIOMMUFD = needsIOMMUFD
    self.needsLinux = needsLinux
    self.guestKernels = guestKernels
    self.systemd = systemd
  }

  private static let linuxGuests = LinuxCases.all + LifeCycleCases.all + DeviceCases.all + LoadCases.all

  /// The cases of `Tests/lab test`, in an L1 without iommufd.
  static var short: [Case] { all.filter { !$0.isLong && !$0.needsIOMMUFD } }

  /// The cases of `Tests/lab test` in an L1 with iommufd: the cases for it, and cases whose results depend on the
  /// interface to the IOMMU. Sluice uses iommufd there, unless a case says otherwise.
  static var shortOnIOMMUFD: [Case] {
    let names =
      [
        "msix", "reset", "memory-enable", "peer-dma", "few-locked", "no-reset", "vf-token",
        "outside-group-held",
        "outside-memory-vfio", "seccomp-rules",
      ] + (RemovalCases.all + LayerCases.all + OpenerCases.all).map(\.name)
    return all.filter { !$0.isLong && ($0.needsIOMMUFD || names.contains($0.name)) }
  }

  /// The cases of `Tests/lab long`.
  static var long: [Case] { all.filter { $0.isLong && !$0.needsIOMMUFD } }

  /// The cases of `Tests/lab long` in an L1 with Linux 7.3 and iommufd: the long cases for it, and cases with ports, which
  /// `Tests/lab test` runs without iommufd.
  static var longOnIOMMUFD: [Case] {
    let names = ["control", "port-unbind", "port-inject", "port-add", "port-replace"]
    return all.filter { $0.isLong && $0.needsIOMMUFD || names.contains($0.name) }
  }

  static let all: [Case] =
    linuxGuests + BareMetalCases.all + InstructionCases.all + GateCases.all + PeerCases.all + TokenCases.all
    + ResourceCases.all + IOMMUFDCases.all + KernelCases.all + Torture.all + ToolCases.all + RecipeCases.all
    + OutsideCases.all + RemovalCases.all + BadInputCases.all + TerminalCases.all + SeccompCases.all
    + LayerCases.all + OpenerCases.all + ControlCases.all + ServiceCases.all + PortCases.all
    + PortErrorCases.all + HotplugCases.all + PortRemovalCases.all + CostCheck.all + ServerCases.all
    + Injections.all + GuestFuzz.all + ImageFuzz.all + SocketFuzz.all + HereLabCases.all

  /// The cases of `Tests/lab test` that also run in an L1 with a 6.1 kernel. Their results depend on the
  /// kernel's VFIO and KVM. Linux 6.1 allocates all vectors at once, faults in a mapped BAR as a whole, and
  /// leaves a stale exit reason after KVM_RUN.
  static var shortOnOldKernel: [Case] {
    let names = ["nvme-6.12-cloud", "msix", "reset", "memory-enable", "peer-dma"]
    return all.filter { names.contains($0.name) } + OutsideCases.all + RemovalCases.all + LayerCases.all
      + OpenerCases.all
  }

  /// The cases of `Tests/lab long` in an L1 with a 6.1 kernel. They are the other cases whose results depend
  /// on the host's kernel.
  static var longOnOldKernel: [Case] {
    let short = Set(shortOnOldKernel.map(\.name))
    let names = ["nvme-life"]
    let some =
      all.filter { names.contains($0.name) } + GateCases.all + PeerCases.all + Torture.all + DeviceCases.all
      + LoadCases.all
    return some.filter { !short.contains($0.name) }
  }
}

/// The failure of a case.
struct Failed: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The reason why a case cannot run here.
struct Skipped: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
